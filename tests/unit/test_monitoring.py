"""Rules, dashboard and their pages hold together; promtool proves that each alert fires."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY

RULES = REPOSITORY / "deploy" / "prometheus"
ALERTS = re.findall(r"- alert: (\w+)", (RULES / "rules.yml").read_text())
PAGE = (REPOSITORY / "docs" / "monitoring.md").read_text()


def promtool(*arguments: str) -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=RULES, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_and_the_configuration_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "rules", "rules.yml")
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")


def test_each_alert_fires_for_what_it_is_for_and_is_silent_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yml")
    tested = re.findall(r"- alertname: (\w+)\n", (RULES / "rules_test.yml").read_text())
    assert set(tested) == set(ALERTS)


def test_there_is_an_alert_for_everything_that_threatens_the_promises() -> None:
    assert len(ALERTS) == len(set(ALERTS)) > 20


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_what_to_do_and_where_that_is_written(alert: str) -> None:
    rule = (RULES / "rules.yml").read_text().partition(f"- alert: {alert}\n")[2]
    assert f"runbook: docs/monitoring.md#{alert.lower()}\n" in rule.partition("- alert:")[0]
    section = PAGE.partition(f"\n### {alert}\n")[2].partition("\n### ")[0]
    assert len(section.split()) > 10


def test_no_section_is_about_an_alert_that_is_gone() -> None:
    assert re.findall(r"^### (Phi3\w+)$", PAGE, re.MULTILINE) == ALERTS


def test_the_dashboard_is_the_one_that_its_source_makes() -> None:
    script = REPOSITORY / "scripts" / "dashboard.py"
    subprocess.run([sys.executable, script, "--check"], check=True)


def test_the_dashboard_asks_only_for_metrics_that_exist() -> None:
    dashboard = (REPOSITORY / "deploy" / "grafana" / "phi3-bento.json").read_text()
    asked = set(re.findall(r"\b(phi3_\w+|http_\w+)\{", json.dumps(json.loads(dashboard))))
    described = (REPOSITORY / "docs" / "metrics.md").read_text()
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}
    assert families
    assert {name for name in families if f"`{name}`" not in described} == set()


def test_the_rules_ask_only_for_metrics_that_exist() -> None:
    asked = set(re.findall(r"\b(phi3_\w+)", (RULES / "rules.yml").read_text()))
    described = (REPOSITORY / "docs" / "metrics.md").read_text()
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}
    assert {name for name in families if f"`{name}`" not in described} == set()


def test_links_of_the_page_lead_somewhere() -> None:
    anchors = {f"#{name.lower()}" for name in ALERTS}
    assert set(re.findall(r"\]\((#\w+)\)", PAGE)) <= anchors
    for target in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", PAGE):
        assert (Path("docs") / target).resolve().exists() or (
            REPOSITORY / "docs" / target
        ).exists(), target
