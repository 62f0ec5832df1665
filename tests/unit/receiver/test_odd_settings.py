"""Values that look right and are not: URLs, keys and paths that were copied badly, each refused with one line."""

from pathlib import Path

import pytest
import structlog

from receiver.errors import SettingsError
from receiver.secret_files import SecretFiles
from receiver.settings import FIELDS, Settings, load, resolved

PASSWORD = "S3CRET-PASSWORD"
KEY = "0123456789abcdef-key"
TENANT = "https://tenant.example"


def _refused(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environ)
    line = str(caught.value)
    assert "\n" not in line
    assert PASSWORD not in line
    assert KEY not in line
    line.encode()
    return line


# URLs of the tenant and of this service


@pytest.mark.parametrize("name", ["AWR_TENANT_URL", "AWR_PUBLIC_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "http://tenant.example",
        "HTTP://tenant.example:8080/x",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://0.0.0.0:8090",
    ],
)
def test_http_beyond_this_machine_is_refused_unless_allowed(name: str, url: str) -> None:
    line = _refused({name: url})
    assert line.startswith(f"{name}: is http beyond this machine")
    assert "AWR_ALLOW_PLAIN_HTTP=1" in line
    load({name: url, "AWR_ALLOW_PLAIN_HTTP": "1"})


@pytest.mark.parametrize("name", ["AWR_TENANT_URL", "AWR_PUBLIC_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1",
        "http://LOCALHOST",
        "http://127.0.0.1:8090",
        "http://127.9.9.9",
        "http://[::1]:80",
    ],
)
def test_http_within_this_machine_is_fine(name: str, url: str) -> None:
    load({name: url})


@pytest.mark.parametrize("name", ["AWR_TENANT_URL", "AWR_PUBLIC_URL"])
@pytest.mark.parametrize(
    ("url", "fault"),
    [
        (f"https://user:{PASSWORD}@host", "bare URL"),
        (f"https://:{PASSWORD}@host", "bare URL"),
        (f"https://{PASSWORD}@host", "bare URL"),
        ("https://@host", "bare URL"),
        (f"https://host\\@{PASSWORD}", "bare URL"),
        (f"https://host/?token={PASSWORD}", "bare URL"),
        (f"https://host/#{PASSWORD}", "bare URL"),
        (f"https://user:{PASSWORD}", "port"),
        ("https://host:0", "port"),
        ("https://host:70000", "port"),
        ("https://host:", "port"),
        (f"https://host {PASSWORD}", "blank"),
        ("https://ho\tst", "not printable"),
        ("https://ho\nst", "not printable"),
        ("https://h\u00a0st", "not printable"),
        ("https://host\u200b", "U+200B"),
        ("\ufeffhttps://host", "U+FEFF"),
        ("https://h\u202eost", "U+202E"),
        ("https://host\x07", "U+0007"),
        ("https://h\udcffst", "not UTF-8"),
        ('"https://host"', "in quotes"),
        ("https://a..b", "https://host"),
        ("https://[::1", "https://host"),
        ("https://[v1.x]", "https://host"),
        ("https://h<ost>", "https://host"),
        ("https://%41.example", "https://host"),
        ("https://host\\x", "https://host"),
        ("https:host", "https://host"),
        ("https://", "https://host"),
        ("https://" + "a" * 300, "https://host"),
    ],
)
def test_an_odd_url_is_refused_without_repeating_it(name: str, url: str, fault: str) -> None:
    line = _refused({name: url})
    assert line.startswith(f"{name}: ")
    assert fault in line


@pytest.mark.parametrize(
    "url", [f"http://user:{PASSWORD[:6]}/{PASSWORD}@proxy:80", "ftp://proxy", "http://proxy:70000", "http://"]
)
def test_a_proxy_that_no_client_can_use_is_refused(url: str) -> None:
    assert _refused({"AWR_TENANT_URL": TENANT, "HTTPS_PROXY": url}).startswith(
        "HTTPS_PROXY: is not a URL of a proxy"
    )
    load({"AWR_TENANT_URL": "http://127.0.0.1:8090", "HTTPS_PROXY": url})
    load({"HTTPS_PROXY": url})


@pytest.mark.parametrize(
    "url", ["http://proxy:3128", f"http://user:{PASSWORD}@proxy:3128/", "proxy:3128", "http://[::1]:3128"]
)
def test_a_usual_proxy_is_fine(url: str) -> None:
    load({"AWR_TENANT_URL": TENANT, "https_proxy": url})


# Keys

BAD_KEYS = [
    (f"\ufeff{KEY}", "U+FEFF (zero width no-break space)"),
    (f"{KEY}\u200b", "U+200B (zero width space)"),
    (f"{KEY[:5]}\u200d{KEY[5:]}", "U+200D"),
    (f"{KEY}\x00", "U+0000"),
    (f"{KEY}\x1b[0m", "U+001B"),
    (f"{KEY}\x7f", "U+007F"),
    (f"{KEY}\udcff", "not UTF-8"),
    (f'"{KEY}"', "in quotes"),
    (f"'{KEY}'", "in quotes"),
    (f"“{KEY}”", "in quotes"),
    (f'{KEY}"', "in quotes"),
    (f"Bearer {KEY}", "Bearer"),
    (f"bearer\t{KEY}", "Bearer"),
    (f"Authorization: Bearer {KEY}", "Bearer"),
    (f"{KEY} {KEY}", "blank"),
]


@pytest.mark.parametrize("name", ["AWR_API_TOKEN", "AWR_SIGNING_KEYS"])
@pytest.mark.parametrize(("key", "fault"), BAD_KEYS)
def test_a_key_that_was_copied_badly_is_refused_with_words(name: str, key: str, fault: str) -> None:
    line = _refused({name: key})
    assert line.startswith(f"{name}: ")
    assert fault in line


@pytest.mark.parametrize("name", ["AWR_API_TOKEN", "AWR_SIGNING_KEYS"])
@pytest.mark.parametrize(("key", "fault"), BAD_KEYS)
def test_a_key_in_a_file_is_refused_with_the_same_words(
    tmp_path: Path, name: str, key: str, fault: str
) -> None:
    (tmp_path / name).write_bytes(key.encode(errors="surrogateescape") + b"\r\n")
    line = _refused({"AWR_SECRETS_DIR": str(tmp_path)})
    assert line.startswith(f"{name}: ")
    assert fault in line


def test_one_bad_key_among_several_is_refused() -> None:
    assert "AWR_SIGNING_KEYS: a key is in quotes" in _refused({"AWR_SIGNING_KEYS": f'{KEY},"{KEY}x"'})


def test_a_comma_in_a_token_is_refused() -> None:
    assert _refused({"AWR_API_TOKEN": f"{KEY},{KEY}"}).startswith("AWR_API_TOKEN: contains a comma")


def test_a_bad_key_after_a_rotation_is_named_and_the_old_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "AWR_SIGNING_KEYS"
    path.write_text(KEY)
    taken: list[Settings] = []
    files = SecretFiles(tmp_path, lambda: load({"AWR_SECRETS_DIR": str(tmp_path)}), taken.append)
    with structlog.testing.capture_logs() as lines:
        for text in (KEY, f"\ufeff{KEY}-new"):
            path.write_text(text)
            files.check()
            files.check()
    (line,) = lines
    assert (line["event"], line["setting"]) == ("settings.change_refused", "AWR_SIGNING_KEYS")
    assert "U+FEFF" in line["fault"]
    assert len(taken) == 1


def test_short_keys_are_named_and_long_ones_are_not() -> None:
    assert load({"AWR_API_TOKEN": "a" * 15}).short_keys == ("AWR_API_TOKEN",)
    assert load({"AWR_API_TOKEN": "a" * 16, "AWR_SIGNING_KEYS": f"{KEY},short"}).short_keys == (
        "AWR_SIGNING_KEYS",
    )
    assert load({"AWR_API_TOKEN": KEY, "AWR_SIGNING_KEYS": KEY}).short_keys == ()


def test_a_short_key_is_warned_about_once_for_each_value(tmp_path: Path) -> None:
    path = tmp_path / "AWR_API_TOKEN"
    environ = {"AWR_SECRETS_DIR": str(tmp_path)}
    path.write_text("first-short")
    files = SecretFiles(tmp_path, lambda: load(environ), lambda _: None)
    with structlog.testing.capture_logs() as lines:
        for text in ("first-short", "second-short", "second-short\n", KEY):
            path.write_text(text)
            files.check()
            files.check()
    assert [(line["event"], line["setting"]) for line in lines] == [("settings.short_key", "AWR_API_TOKEN")]


# Everything

EVERY = list(FIELDS)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("value", ["\udcff\udc80", "a\x00b", "\ufeff1", "\u200b", '"1"', "'x'"])
def test_no_setting_takes_what_cannot_be_seen_or_is_in_quotes(name: str, value: str) -> None:
    assert _refused({name: value}).startswith(f"{name}: ")


def test_an_unknown_name_that_is_not_utf_8_is_one_line_too() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"AWR_\udcff": "x"})
    assert "unknown setting" in str(caught.value)


def test_nothing_shown_holds_a_url_with_a_password(tmp_path: Path) -> None:
    environ = {
        "AWR_REDIS_URL": f"redis://user:{PASSWORD}@host:6379/0",
        "AWR_TENANT_URL": TENANT,
        "HOME": "/h",
    }
    settings = load(environ)
    assert "@" not in repr(settings.summary()) + repr(resolved(environ)) + repr(settings)


# Addresses and paths


@pytest.mark.parametrize("name", ["AWR_HOST", "AWR_ADMIN_HOST"])
@pytest.mark.parametrize("host", ["http://0.0.0.0", "0.0.0.0:8080", "[::1]", "a b", "host/", "*"])
def test_a_host_is_an_address_or_a_name_alone(name: str, host: str) -> None:
    assert "an address or a host name alone" in _refused({name: host})


@pytest.mark.parametrize(
    "host", ["::", "::1", "0.0.0.0", "fe80::1%eth0", "::ffff:127.0.0.1", "web-1.example"]
)
def test_usual_hosts_are_fine(host: str) -> None:
    assert load({"AWR_HOST": host}).host == host


@pytest.mark.parametrize("name", ["AWR_DATA_DIR", "AWR_ENTITY_KEYS_FILE"])
def test_a_tilde_is_the_home_folder(name: str) -> None:
    settings = load({name: "~/x", "HOME": "/home/us"})
    assert Path("/home/us/x") in (settings.data_dir, settings.entity_keys_file)
    assert "HOME is not set" in _refused({name: "~/x"})
    assert "HOME is not set" in _refused({name: "~/x", "HOME": ""})
    assert "names no user" in _refused({name: "~no-such-user/x", "HOME": "/home/us"})


def test_a_tilde_counts_in_the_folder_of_secrets_too(tmp_path: Path) -> None:
    (tmp_path / "AWR_PORT").write_text("81")
    assert load({"AWR_SECRETS_DIR": "~", "HOME": str(tmp_path)}).port == 81


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "relative"}])
def test_without_a_home_there_is_no_data_folder(environ: dict[str, str]) -> None:
    assert load(environ).data_dir is None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("mail", "entry 1 is not HANDLER=QUEUE"),
        ("mail=", "the queue of entry 1 is empty"),
        ("=bulk", "entry 1 is not HANDLER=QUEUE"),
        ("Mail=bulk", "entry 1 is not HANDLER=QUEUE"),
        ("a=b, mail=bu lk", "the queue of entry 2 has ' '"),
        ("mail=bulk=x", "the queue of entry 1 has '='"),
        ("mail=bulk.isolated", "ends with .isolated"),
        ("mail=a,mail=b", "entry 2 names mail again"),
        (",", "has no entry"),
    ],
)
def test_an_odd_queue_of_a_handler_is_refused(value: str, says: str) -> None:
    line = _refused({"AWR_QUEUE_OF": value})
    assert line.startswith("AWR_QUEUE_OF: ")
    assert says in line


def test_queues_of_handlers_are_read() -> None:
    assert load({"AWR_QUEUE_OF": "acme.mail=letters,\n acme.sync=bulk"}).queues == {
        "acme.mail": "letters",
        "acme.sync": "bulk",
    }
    assert load({}).queues == {}
