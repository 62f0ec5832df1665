"""URLs of a single Redis: what redis-py would read as something else is refused, with words and without a secret."""

import pytest

from eventlog.connection.connect import check_url

PASSWORD = "S3CRET"
ENCODE = "percent-encode"


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://host/",
        "redis://host:6379/15",
        "redis://:word@10.0.0.1:6379/0",
        "redis://user:p%40ss%2Fword@[::1]:6379",
        "redis://a_service:65535?db=3&client_name=us&health_check_interval=30",
        "rediss://host/1?ssl_cert_reqs=none",
        "unix:///run/redis.sock",
        "unix://:word@/run/redis.sock?db=2",
    ],
)
def test_usual_urls_are_fine(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("redis://host/abc", "database number"),
        ("redis://host/-1", "database number"),
        ("redis://host/1.5", "database number"),
        ("redis://host/0/1", "database number"),
        ("redis://host/0/", "database number"),
        ("redis://host/%30", "database number"),
        ("redis://host/\uff11", "database number"),
        ("redis://host/1?db=2", "database number"),
        ("redis://host?db=abc", "give db as a number"),
        ("redis://host?db=", "give db once"),
        ("redis://host?db=1&db=2", "give db once"),
        ("redis://host?", ENCODE),
        (f"redis://host?{PASSWORD}=1", "unknown option; what can be given is db,"),
        ("redis://host?decode_responses=1", "unknown option"),
        ("redis://host?ssl_cert_reqs=none", "unknown option"),
        ("redis://host?max_connections=1", "unknown option"),
        ("redis://host:0", "port"),
        ("redis://host:70000", "port"),
        ("redis://host:-1", "port"),
        ("redis://host:", "port"),
        ("redis://host:http", "port"),
        (f"redis://user:{PASSWORD}", "port"),
        ("redis://", "no host"),
        ("redis:///0", "no host"),
        ("redis://:6379", "no host"),
        (f"redis://:{PASSWORD}@", "no host"),
        (f"redis://:{PASSWORD}@:6379", "no host"),
        ("redis://a,b", "one host"),
        ("redis://a:1,b:2", "one host"),
        ("redis://::1", "one host"),
        ("redis://[::1", "one host"),
        ("redis://ho%73t", "one host"),
        (f"redis://host/0#{PASSWORD}", ENCODE),
        (f"redis://:12#{PASSWORD}@host", ENCODE),
        (f"redis://:12/{PASSWORD}@host", ENCODE),
        (f"redis://:12?{PASSWORD}@host", ENCODE),
        (f"redis+sentinel://:12/{PASSWORD}@host/main", ENCODE),
        (f"redis+sentinel://host/main#{PASSWORD}", ENCODE),
        ("redis://host/0\x7f", "database number"),
        ("redis://:word\x07@host", "not printable"),
        ("redis://h ost", "one host"),
        ("redis://host\u200b", "not printable"),
        ("redis+cluster://host\x1b", "not printable"),
        ("redis://:a b@host", "not printable"),
        ("unix://run/redis.sock", "unix:///run"),
        ("unix://", "unix:///run"),
        ("unix:/run/redis.sock", "scheme must be one of"),
        ("redis:host", "scheme must be one of"),
        ("host:6379", "scheme must be one of"),
    ],
)
def test_an_odd_url_is_refused_with_the_fix(url: str, fault: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_url(url)
    assert fault in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)
