"""Settings: a name that is unknown, empty, set twice or set by Kubernetes is refused with one line."""

import os
from pathlib import Path

import pytest

from receiver.claim import rules_of
from receiver.errors import SettingsError
from receiver.settings import FIELDS, Settings, is_secret, load, markdown_table, resolved, serving_needs

TOKEN = "a-token-nobody-may-see"


def _refused(environ: dict[str, str], **options: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environ, **options)  # type: ignore[arg-type]
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_defaults_need_nothing() -> None:
    settings = load({})
    assert (settings.host, settings.port, settings.webhook_path) == ("127.0.0.1", 8080, "/webhooks/ampeco")
    assert settings.accept_status == 202
    assert settings.registration == "auto"


@pytest.mark.parametrize(
    ("name", "near"),
    [("AWR_PROT", "AWR_PORT"), ("AWR_API_TOKENS", "AWR_API_TOKEN"), ("AWR_REDISURL", "AWR_REDIS_URL")],
)
def test_unknown_name_is_refused_with_the_nearest_one(name: str, near: str) -> None:
    assert f"did you mean {near}?" in _refused({name: "x"})


def test_unknown_name_like_no_other_is_refused_too() -> None:
    assert _refused({"AWR_ZZZZQQQQ": "x"}).startswith("AWR_ZZZZQQQQ: unknown setting")


def test_names_of_others_are_left_alone() -> None:
    assert load({"ACME_PORT": "tcp://10.0.0.1:80", "PATH": "/bin", "awr_port": "9"}).port == 8080


@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_empty_value_is_refused(value: str) -> None:
    assert _refused({"AWR_API_TOKEN": value}).startswith("AWR_API_TOKEN: is empty")


@pytest.mark.parametrize(
    "environ",
    [
        {"AWR_SERVICE_HOST": "10.0.0.1", "AWR_SERVICE_PORT": "80", "AWR_SERVICE_PORT_HTTP": "80"},
        {"AWR_REDIS_SERVICE_HOST": "10.0.0.1", "AWR_REDIS_PORT": "tcp://10.0.0.1:6379"},
        {"AWR_PORT_8080_TCP": "tcp://10.0.0.1:8080", "AWR_PORT_8080_TCP_ADDR": "10.0.0.1"},
        {"AWR_X_Y_PORT_53_UDP_PROTO": "udp", "AWR_X_Y_PORT_53_UDP_PORT": "53"},
    ],
)
def test_service_links_that_hit_no_setting_are_ignored(environ: dict[str, str]) -> None:
    assert load(environ) == load({})


@pytest.mark.parametrize("name", ["AWR_PORT", "AWR_ADMIN_PORT"])
def test_service_link_on_a_setting_is_refused_with_its_cause(name: str) -> None:
    assert "enableServiceLinks: false" in _refused({name: "tcp://10.0.0.1:8080"})


def test_something_like_a_service_link_by_hand_is_still_unknown() -> None:
    assert "unknown setting" in _refused({"AWR_REDIS_PORT": "6379"})


@pytest.mark.parametrize("path", ["/..hook", "/a.b/...", "/.well-known/ampeco", "/health"])
def test_dots_in_a_path_are_fine_where_they_are_no_step(path: str):
    assert load({"AWR_WEBHOOK_PATH": path}).webhook_path == path


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("AWR_PORT", "http", "integer"),
        ("AWR_PORT", "70000", "65535"),
        ("AWR_ACCEPT_STATUS", "404", "299"),
        ("AWR_TENANT_URL", "tenant.example", "https://host"),
        ("AWR_TENANT_URL", "https://tenant.example/public-api", "before /public-api"),
        ("AWR_PUBLIC_URL", "https://user:word@host", "bare URL"),
        ("AWR_WEBHOOK_PATH", "webhooks", "plain path"),
        ("AWR_WEBHOOK_PATH", "/health/live", "outside /health"),
        ("AWR_WEBHOOK_PATH", "/{x}", "plain path"),
        ("AWR_WEBHOOK_PATH", "/..", "plain path"),
        ("AWR_WEBHOOK_PATH", "/./hook", "plain path"),
        ("AWR_NOTIFICATIONS", "cdr.received,receiver.started", "type 2 is one of our own"),
        ("AWR_NOTIFICATIONS", "cdr.received,a|b", "type 2 has '|' (U+007C) at place 2"),
        ("AWR_NOTIFICATIONS", "a\tb", "type 1 has '\\t' (U+0009) at place 2"),
        (
            "AWR_SIGNATURE_SCHEME",
            "timestamp-body",
            "one of auto, body, body+timestamp, body.timestamp, timestamp,",
        ),
        ("AWR_BACKFILL", "HardwareStatusNotification", "in no listing; possible are SessionUpdate"),
        ("AWR_BACKFILL", ",", "has no entry"),
        ("AWR_BACKFILL_AFTER_S", "0", "greater"),
        ("AWR_SIGNATURE_TOLERANCE_S", "0", "greater"),
        ("AWR_SIGNATURE_TOLERANCE_S", "5 min", "integer"),
        ("AWR_SIGNATURE_TOLERANCE_S", "600", "set AWR_SIGNATURE_SCHEME to a scheme with a timestamp"),
        ("AWR_REGISTER", "yes", "'auto', 'ephemeral' or 'off'"),
        ("AWR_REDIS_URL", "http://host", "scheme must be one of"),
        ("AWR_REDIS_URL", "redis+sentinel://host", "end it with /SERVICE"),
        ("AWR_REDIS_URL", "redis+sentinel://host/main?x=1", "what can be given is sentinel_username"),
        ("AWR_KEY_PREFIX", "awr", "end with ':'"),
        ("AWR_SIGNING_KEYS", ",,", "has no entry"),
        ("AWR_LANES", "0", "greater"),
        ("AWR_DURABILITY", "never", "always, everysec, or replicated:n"),
        ("AWR_PLUGINS_STRICT", "perhaps", "boolean"),
        ("AWR_LOG_MAX_BYTES", "9" * 400, "less than or equal"),
        ("AWR_CATCH_UP_PER_S", "inf", "less than or equal"),
    ],
)
def test_impossible_value_is_refused(name: str, value: str, fault: str) -> None:
    line = _refused({name: value})
    assert line.startswith(f"{name}: ")
    assert fault in line


@pytest.mark.parametrize(
    ("given", "scheme"),
    [
        ("timestamp", "timestamp.body"),
        ("body+timestamp", "body+timestamp"),
        ("auto", "auto"),
        ("body", "body"),
    ],
)
def test_a_scheme_with_a_timestamp_is_named_by_its_form(given: str, scheme: str) -> None:
    assert load({"AWR_SIGNATURE_SCHEME": given}).signature_scheme == scheme


@pytest.mark.parametrize("scheme", ["auto", "timestamp"])
def test_a_tolerance_needs_a_timestamp_that_may_be_signed(scheme: str) -> None:
    environ = {"AWR_SIGNATURE_SCHEME": scheme, "AWR_SIGNATURE_TOLERANCE_S": "600"}
    assert load(environ).signature_tolerance_s == 600


@pytest.mark.parametrize(
    "environ",
    [
        {"AWR_API_TOKEN": f"{TOKEN} {TOKEN}"},
        {"AWR_API_TOKEN": f"{TOKEN}é"},
        {"AWR_REDIS_URL": f"ftp://:{TOKEN}@host"},
        {"AWR_REDIS_URL": f"redis://:{TOKEN}@host:port"},
        {"AWR_REDIS_URL": f"redis://:{TOKEN}@[host"},
        {"AWR_REDIS_URL": f"redis+sentinel://:{TOKEN}@host"},
        {"AWR_REDIS_URL": f"redis+sentinel://host/main?{TOKEN}={TOKEN}"},
    ],
)
def test_complaint_never_repeats_a_secret(environ: dict[str, str]) -> None:
    assert TOKEN not in _refused(environ)


def test_secrets_are_not_in_any_text_of_the_settings() -> None:
    environ = {"AWR_API_TOKEN": TOKEN, "AWR_SIGNING_KEYS": TOKEN, "AWR_REDIS_URL": f"redis://:{TOKEN}@host"}
    settings = load(environ)
    assert TOKEN not in repr(settings) + str(settings.summary()) + str(resolved(environ))
    assert settings.summary()["api_token_configured"] is True
    assert settings.summary()["signing_keys_configured"] is True


def test_keys_are_the_list_in_order_or_else_the_token() -> None:
    both = load({"AWR_API_TOKEN": "token", "AWR_SIGNING_KEYS": "one, two\nthree\n"})
    assert [key.secret for key in both.accepted_keys] == [b"one", b"two", b"three"]
    assert [key.secret for key in load({"AWR_API_TOKEN": "token"}).accepted_keys] == [b"token"]
    assert load({}).accepted_keys == ()


def test_no_key_at_all_is_refused_with_what_to_set() -> None:
    line = _refused({}, need=["AWR_SIGNING_KEYS"])
    assert "AWR_API_TOKEN" in line
    assert "AWR_SIGNING_KEYS" in line
    load({"AWR_API_TOKEN": "t"}, need=["AWR_SIGNING_KEYS"])
    load({"AWR_SIGNING_KEYS": "t"}, need=["AWR_SIGNING_KEYS"])


def test_serving_without_registering_needs_neither_token_nor_tenant() -> None:
    assert serving_needs(load({"AWR_REGISTER": "off"})) == ("AWR_REDIS_URL", "AWR_SIGNING_KEYS")
    assert "AWR_PUBLIC_URL" in serving_needs(load({}))


def test_a_command_may_have_a_default_of_its_own() -> None:
    assert load({}, defaults={"AWR_REGISTER": "ephemeral"}).registration == "ephemeral"
    assert load({"AWR_REGISTER": "off"}, defaults={"AWR_REGISTER": "ephemeral"}).registration == "off"


def test_data_folder_follows_systemd_then_xdg() -> None:
    assert load({"STATE_DIRECTORY": "/var/lib/x:/var/lib/y", "XDG_STATE_HOME": "/s"}).data_dir == Path(
        "/var/lib/x"
    )
    assert load({"XDG_STATE_HOME": "/s"}).data_dir == Path("/s/ampeco-receiver")
    assert load({"HOME": "/h"}).data_dir == Path("/h/.local/state/ampeco-receiver")


def test_secret_files_lose_one_line_end_and_hidden_ones_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_24").mkdir()
    (tmp_path / ".AWR_PORT").write_text("1")
    (tmp_path / "AWR_API_TOKEN").write_text(f"{TOKEN}\n")
    (tmp_path / "ACME_MAIL_KEY").write_text("of a plugin")
    settings = load({"AWR_SECRETS_DIR": str(tmp_path)})
    assert settings.api_token is not None
    assert settings.api_token.get_secret_value() == TOKEN
    rows = {row.name: row for row in resolved({"AWR_SECRETS_DIR": str(tmp_path), "AWR_PORT": "1"})}
    assert (rows["AWR_API_TOKEN"].source, rows["AWR_API_TOKEN"].value) == ("file", "********")
    assert (rows["AWR_PORT"].source, rows["AWR_PORT"].value) == ("env", "1")
    assert (rows["AWR_HOST"].source, rows["AWR_TENANT_URL"].value) == ("default", None)


def test_two_line_ends_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "AWR_API_TOKEN").write_text(f"{TOKEN}\n\n")
    assert TOKEN not in _refused({"AWR_SECRETS_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("AWR_PORT", b"1", "is set in the environment and in AWR_SECRETS_DIR"),
        ("AWR_TOKEN", b"1", "did you mean"),
        ("AWR_API_TOKEN", b"\n", "is empty"),
        ("AWR_API_TOKEN", b"\xff\xfe", "not UTF-8"),
        ("AWR_SECRETS_DIR", b"/x", "cannot be a file in its own folder"),
    ],
)
def test_faulty_secret_file_is_refused(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert fault in _refused({"AWR_SECRETS_DIR": str(tmp_path), "AWR_PORT": "1"})


def test_what_is_no_small_file_is_refused_at_once(tmp_path: Path) -> None:
    place, environ = tmp_path / "AWR_API_TOKEN", {"AWR_SECRETS_DIR": str(tmp_path)}
    os.mkfifo(place)
    assert "AWR_API_TOKEN: cannot be read from AWR_SECRETS_DIR (no regular file)" in _refused(environ)
    place.unlink()
    place.mkdir()
    assert "AWR_API_TOKEN: cannot be read from AWR_SECRETS_DIR" in _refused(environ)
    place.rmdir()
    place.symlink_to("/dev/zero")
    assert "no regular file" in _refused(environ)
    place.unlink()
    with place.open("wb") as file:
        file.truncate(1 << 34)
    assert "larger than 1048576 bytes" in _refused(environ)


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero"])
def test_a_pipe_or_device_blocks_no_start(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    file = str(path) if kind == "pipe" else kind
    with pytest.raises(SettingsError, match=r"AWR_ENTITY_KEYS_FILE.*no regular file"):
        rules_of(load({"AWR_ENTITY_KEYS_FILE": file}))
    refused = _refused({"AWR_REDIS_URL": f"rediss://x?ssl_ca_certs={file}"})
    assert "AWR_REDIS_URL" in refused
    assert "no regular file" in refused


def test_secrets_folder_must_exist(tmp_path: Path) -> None:
    assert "cannot be read" in _refused({"AWR_SECRETS_DIR": str(tmp_path / "none")})


def test_every_setting_is_described_and_in_the_table() -> None:
    table = markdown_table()
    for name, field in FIELDS.items():
        assert Settings.model_fields[field].description
        assert f"| `{name}` |" in table
    assert [name for name in FIELDS if is_secret(name)] == [
        "AWR_API_TOKEN",
        "AWR_API_TOKEN_NEXT",
        "AWR_SIGNING_KEYS",
        "AWR_REDIS_URL",
        "AWR_CONSOLE_TOKEN",
        "AWR_CONSOLE_BODIES_TOKEN",
    ]


@pytest.mark.parametrize("name", ["AWR_CONSOLE_TOKEN", "AWR_CONSOLE_BODIES_TOKEN"])
def test_a_token_of_the_console_that_can_be_guessed_is_refused(name: str) -> None:
    for given in ("fifteen-letters", "sixteen letters!", "", '"sixteen-letters"'):
        assert name in _refused({name: given})
    assert load({name: "sixteen-letters!"})


def test_the_names_of_the_console_are_names_alone() -> None:
    hosts = load({"AWR_CONSOLE_HOSTS": "Ops.example.com, awr.ops.svc"}).console_hosts
    assert hosts == ("ops.example.com", "awr.ops.svc")
    for given in ("https://ops.example.com", "ops.example.com:9090", "ops/console", "*.example.com", ","):
        assert "AWR_CONSOLE_HOSTS" in _refused({"AWR_CONSOLE_HOSTS": given})


def test_the_next_token_is_accepted_as_a_key_and_only_once() -> None:
    both = load({"AWR_API_TOKEN": "one", "AWR_API_TOKEN_NEXT": "two"})
    assert [key.secret for key in both.accepted_keys] == [b"one", b"two"]
    listed = load({"AWR_API_TOKEN": "one", "AWR_API_TOKEN_NEXT": "two", "AWR_SIGNING_KEYS": "three,two"})
    assert [key.secret for key in listed.accepted_keys] == [b"three", b"two"]


def test_a_callback_url_that_ampeco_does_not_take_is_refused_with_words() -> None:
    def environ(chars: int) -> dict[str, str]:
        return {
            "AWR_PUBLIC_URL": "https://us.example/"
            + "x" * (chars - len("https://us.example/webhooks/ampeco") - 1)
        }

    assert len(load(environ(500)).callback_url or "") == 500
    line = _refused(environ(501))
    assert "AWR_PUBLIC_URL" in line
    assert "501 characters" in line
