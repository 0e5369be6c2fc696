"""Every setting is documented, and a value that cannot be used stops the start by its name."""

from pathlib import Path

import pytest

from phi3_bento.errors import StartFailure
from phi3_bento.settings import Settings, load_settings

KEY = "a-key-of-sixteen-characters"


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"PHI3_{name.upper()}", value)
    return load_settings()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_sentence(name: str) -> None:
    description = Settings.model_fields[name].description or ""
    assert description[:1].isupper(), description
    assert description.endswith((".", "`"))


def test_without_any_variable_the_service_is_open_to_this_machine_alone() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.api_key) == ("127.0.0.1", 11403, None)
    assert settings.is_loopback
    assert int(settings.memory) == 8 * 2**30


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "0"),
        ("port", "65536"),
        ("port", "http"),
        ("port", ""),
        ("host", "example.com"),
        ("host", "127.0.0.1:80"),
        ("host", ""),
        ("api_key", ""),
        ("api_key", "too-short"),
        ("api_key", f"{KEY} "),
        ("api_key", "ein-schlüssel-mit-umlaut"),
        ("model", ""),
        ("served_name", "with space"),
        ("served_name", "x" * 97),
        ("engine", "llama.cpp"),
        ("memory", "plenty"),
        ("memory", "512MiB"),
        ("threads", "0"),
        ("dtype", "int4"),
        ("compile", "perhaps"),
        ("max_context_tokens", "10"),
        ("max_sequences", "0"),
        ("prefill_chunk_tokens", "1"),
        ("speculative_tokens", "17"),
        ("max_body_bytes", "1"),
        ("max_choices", "1.5"),
        ("first_piece_limit_s", "0"),
        ("stall_limit_s", "-1"),
        ("drain_limit_s", "-1"),
        ("keep_alive_s", "0"),
        ("log_level", "loud"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(StartFailure, match=f"PHI3_{name.upper()}: ."):
        load(monkeypatch, **{name: value})


def test_all_values_that_cannot_be_used_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartFailure, match=r"PHI3_PORT: .*PHI3_MAX_CHOICES: "):
        load(monkeypatch, port="0", max_choices="0")


def test_a_refused_key_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartFailure) as caught:
        load(monkeypatch, api_key="secret")
    assert "secret" not in caught.value.message


def test_a_key_is_not_in_what_settings_print(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, api_key=KEY)
    assert KEY not in f"{settings!r} {settings}"
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == KEY


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1"])
def test_a_loopback_address_needs_no_key(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    settings = load(monkeypatch, host=host)
    assert (settings.host, settings.is_loopback) == (host, True)


def test_localhost_means_the_loopback_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, host="localhost").host == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "size"), [("8GiB", 8 * 2**30), ("8589934592", 8 * 2**30), ("16 GB", 16 * 10**9)]
)
def test_memory_is_given_in_any_unit(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    assert int(load(monkeypatch, memory=text).memory) == size


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ()),
        ("https://a.example", ("https://a.example",)),
        (" https://a.example, https://b.example,", ("https://a.example", "https://b.example")),
    ],
)
def test_origins_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]
) -> None:
    assert load(monkeypatch, cors_origins=text).cors_origins == origins


def test_data_go_where_the_desktop_convention_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert load_settings().data_dir == tmp_path / ".local" / "share" / "phi3-bento"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert load_settings().data_dir == tmp_path / "data" / "phi3-bento"


def test_a_data_directory_means_the_same_in_every_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """BentoML's workers run in another directory than the command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load(monkeypatch, data_dir="data").data_dir == tmp_path / "data"
    assert load(monkeypatch, data_dir="~/data").data_dir == tmp_path / "home" / "data"


def test_settings_do_not_change() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_a_misspelt_variable_stops_the_start_and_names_the_right_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(StartFailure, match=r"PHI3_MAX_CONTEX_TOKENS.*PHI3_MAX_CONTEXT_TOKENS\?"):
        load(monkeypatch, max_contex_tokens="100")


def test_the_installer_s_variable_is_not_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, venv="/somewhere").port == 11403
