"""A result card: the numbers of a run with all that they depend on, which others can verify."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from t2i_spatial import parts
from t2i_spatial._version import __version__
from t2i_spatial.errors import InputError
from t2i_spatial.files import read_json
from t2i_spatial.labels.records import label_files, labels_hash
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.provenance import prompt_set_hash
from t2i_spatial.run import Run
from t2i_spatial.stages import contents
from t2i_spatial.stages.auditing.audit import audit_run, with_audited
from t2i_spatial.stages.auditing.labelled import has_labels
from t2i_spatial.stages.stored_summary import summary_of
from t2i_spatial.tables import KEY, SCORED

FORM = "t2i-spatial result card 1"
MADE = ("model", "revision", "lora", "lora_scale", "scheduler", "steps", "guidance_scale",
        "negative_prompt", "width", "height", "samples", "seed", "dtype")  # fmt: skip
NUMBER = ("value", "low", "high", "n_prompts", "n_images", "n_expected", "audited")
BESIDE = ("version", "warnings", "judges")
"""Parts of a card that no number depends on."""
SAME = 1e-9


def make_card(run: Run, name: str | None = None, *, again: bool = False) -> dict[str, Any]:
    """The card of a run.

    Args:
        name: of what is measured; by default that of the model, else of the folder.
        again: compute the numbers from the verdicts instead of taking them from the summary.

    Raises:
        InputError: the run has not been scored.
    """
    plan = run.plan("score")
    summary = _again(run) if again else run.summary()
    if not plan or not summary:
        raise InputError(f"{run.path} has no scores yet; run `t2i-spatial score` first")
    made = run.plan("generate")
    prompts = run.prompts()
    warned = [line for part in summary.values() for line in part.get("warnings", ())]
    files = label_files(run.path) if has_labels(run) else []
    return {
        "form": FORM,
        "name": name or str(made.get("model") or run.path.resolve().name),
        "generator": {key: made[key] for key in MADE if made.get(key) is not None},
        "prompts": {
            "sha256": prompt_set_hash(prompts.select("prompt_id", "text").rows()),
            "n": len(prompts),
        },
        "images": _images(run),
        "detector": _plain(run.plan("detect")),
        "protocols": {
            key: {
                "settings": entry.get("settings", {}),
                "allow_missing": entry.get("allow_missing", False),
                **({"judge": entry["judge"]} if "judge" in entry else {}),
                **({"calibrated": c} if (c := summary[key].get("calibrated")) else {}),
            }
            for key, entry in plan.items()
            if key in summary
        },
        "judges": {key: m["said"] for key, part in summary.items() if (m := part.get("measured"))},
        "labels": {"sha256": labels_hash(files), "files": len(files)} if files else None,
        "version": __version__,
        "warnings": list(dict.fromkeys(warned)),
        "numbers": {key: _numbers(part) for key, part in summary.items()},
    }


def differences(card: Mapping[str, Any], run: Run) -> list[str]:
    """What of a card's numbers, and of what they depend on, is not so when it is made again.

    The package's version, warnings and what is known of judges are not compared.

    Raises:
        InputError: not a card.
    """
    _check(card, "the card")
    now = make_card(run, card.get("name"), again=True)
    before = _flat({k: v for k, v in card.items() if k not in BESIDE})
    after = _flat({k: v for k, v in now.items() if k not in BESIDE})
    return [
        f"{key}: {before.get(key)!r} on the card, {after.get(key)!r} in the run"
        for key in sorted({*before, *after})
        if not _same(before.get(key), after.get(key))
    ]


def markdown(card: Mapping[str, Any]) -> str:
    """The card as Markdown, with the `model-index` that hubs read in front."""
    results = [
        {
            "task": {"type": "text-to-image"},
            "dataset": {"name": f"prompts {card['prompts']['sha256'][:12]}", "type": "prompts"},
            "metrics": [
                {
                    "type": protocol,
                    "name": f"{protocol} {number}" + (" (audited)" if audited else ""),
                    "value": round(100 * (entry["audited"] if audited else entry)["value"], 2),
                }
                for number, entry in numbers.items()
                for audited in (False, True)
                if entry["value"] is not None and (not audited or entry.get("audited"))
            ],
        }
        for protocol, numbers in card["numbers"].items()
    ]
    head = {"model-index": [{"name": card["name"], "results": results}]}
    lines = ["---", yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip(), "---", ""]
    lines += [f"# {_text(card['name'])}", "", *_number_table(card), ""]
    images, labels = card["images"], card["labels"]
    facts = {
        "prompts": f"{card['prompts']['n']:,}, sha256 {card['prompts']['sha256']}",
        "images": f"{images['n']:,} of {images['n_expected']:,}, sha256 {images['sha256']}",
        "generator": json.dumps(card["generator"], ensure_ascii=False),
        "detector": json.dumps(card["detector"], ensure_ascii=False),
        "protocols": json.dumps(card["protocols"], ensure_ascii=False),
        "labels": f"sha256 {labels['sha256']}" if labels else "none",
        "t2i-spatial": card["version"],
    }
    lines += [f"- {key}: {_text(value)}" for key, value in facts.items()]
    for protocol, said in card.get("judges", {}).items():
        lines.append(f"- {_text(protocol)}, judge measured: {_text(said)}")
    lines += [f"- careful: {_text(line)}" for line in card["warnings"]]
    return "\n".join(lines) + "\n"


def read_card(path: Path) -> dict[str, Any]:
    """A card from its JSON file.

    Raises:
        InputError: not a card.
    """
    content = read_json(path)
    _check(content, str(path))
    return dict(content)


def table(cards: Sequence[Mapping[str, Any]]) -> str:
    """Cards as Markdown tables, one for each way of measuring: others cannot be compared.

    Measured alike are the same prompts, protocol and settings, detector or judge.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for card in cards:
        for protocol in card["numbers"]:
            groups.setdefault(_way(card, protocol), []).append(card)
    lines: list[str] = []
    for way, members in sorted(groups.items()):
        protocol = json.loads(way)["protocol"]
        number = next(iter(members[0]["numbers"][protocol]))
        lines += ["", f"## {protocol}: {number}", "", _told(json.loads(way)), ""]
        lines += ["| | % | 95 % | audited | 95 % | images |", "|---|---|---|---|---|---|"]
        rows = [(card["name"], card["numbers"][protocol].get(number) or {}, card)
                for card in members]  # fmt: skip
        rows.sort(key=lambda row: -_rank(row[1]))
        for name, entry, card in rows:
            cells = [*_cells(entry), *_cells(entry.get("audited") or {})]
            lines.append(f"| {_text(name)} | {' | '.join(cells)} | {card['images']['n']:,} |")
    return "\n".join(lines).strip() + "\n"


def _again(run: Run) -> dict[str, Any]:
    stored = run.summary()
    result = {}
    prompts = run.prompts()
    for name, entry in run.plan("score").items():
        if name not in PROTOCOLS or name not in stored:
            continue
        metric = PROTOCOLS[name](**entry.get("settings", {}))
        counting = {k: entry[k] for k in ("allow_missing", "seed", "resamples") if k in entry}
        made = summary_of(run, metric, prompts, Intervals(**counting))
        early = {k: v for k, v in stored[name].items()
                 if isinstance(v, dict) and v.get("anytime_valid")}  # fmt: skip
        kept = {
            k: stored[name][k] for k in ("calibrated", "measured", "warnings") if k in stored[name]
        }
        result[name] = made | early | kept
    audited = any(
        "audited" in e for p in stored.values() for e in p.values() if isinstance(e, dict)
    )
    if audited and has_labels(run):
        from t2i_spatial.stages.auditing.settings import AuditSettings

        path = run.path / "audit.json"
        facts = read_json(path)["facts"] if path.exists() else {}
        said = AuditSettings(
            target=facts.get("target", "model"), witnesses=tuple(facts.get("witnesses", ()))
        )
        result = with_audited(result, audit_run(run, said, save=False))
    return result


def _images(run: Run) -> dict[str, Any]:
    if not run.has("images.parquet"):
        detections = run.detections() if run.has("detections/main.parquet") else None
        n = 0 if detections is None else int((detections["status"] == SCORED).sum())
        total = n if detections is None else len(detections)
        return {"sha256": None, "n": n, "n_expected": total}
    run.require_finished("generate", "import")
    seen = [piece.select(*KEY, "sha256") for piece in contents.look_at_all(run, "detect")]
    digest = hashlib.sha256()
    for row in pl.concat(seen).sort(KEY).iter_rows() if seen else ():
        digest.update(f"{row[0]}\t{row[1]}\t{row[2]}\n".encode())
    status = parts.scan(run.table_path("images.parquet"), ["status"])
    counts = status.select(pl.len(), (pl.col("status") == SCORED).sum())
    total, made = counts.collect(engine="streaming").row(0)
    return {"sha256": digest.hexdigest(), "n": int(made), "n_expected": int(total)}


def _numbers(part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        number: {key: entry[key] for key in NUMBER if key in entry}
        for number, entry in part.items()
        if isinstance(entry, Mapping) and "value" in entry
    }


def _plain(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan without places on a machine and without what only that machine knows."""
    left_out = ("device", "batch_size", "input", "images", "source", "content")
    return {k: v for k, v in plan.items() if k not in left_out and v not in (None, {}, [])}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        return {
            k: v for key, part in value.items() for k, v in _flat(part, f"{prefix}.{key}").items()
        }
    return {prefix.lstrip("."): value}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= SAME
    return bool(a == b)


def _check(card: Any, what: str) -> None:
    needed = ("numbers", "prompts", "images", "protocols")
    if not (
        isinstance(card, Mapping) and card.get("form") == FORM and all(k in card for k in needed)
    ):
        raise InputError(f"{what} is no result card of this version ({FORM})")


def _way(card: Mapping[str, Any], protocol: str) -> str:
    """How a protocol was measured on a card, as text."""
    way = {
        "protocol": protocol,
        "prompts": card["prompts"]["sha256"],
        "detector": card["detector"] if "judge" not in card["protocols"][protocol] else None,
        **card["protocols"][protocol],
    }
    return json.dumps(way, sort_keys=True)


def _told(way: Mapping[str, Any]) -> str:
    by = way.get("judge") or way["detector"] or {}
    who = by.get("detector") or by.get("model") or by.get("name") or "unknown"
    who = who.get("name", "unknown") if isinstance(who, Mapping) else who
    said = f"prompts {way['prompts'][:12]}, by {_text(str(who))}"
    return said + (f", calibrated by {way['calibrated']['name']}" if "calibrated" in way else "")


def _rank(entry: Mapping[str, Any]) -> float:
    shown = entry.get("audited") or entry
    return -1.0 if shown.get("value") is None else float(shown["value"])


def _cells(entry: Mapping[str, Any]) -> Iterator[str]:
    if entry.get("value") is None:
        yield from ("", "")
        return
    yield f"{100 * entry['value']:.1f}"
    yield f"{100 * entry['low']:.1f} – {100 * entry['high']:.1f}"


def _number_table(card: Mapping[str, Any]) -> list[str]:
    lines = ["| | | % | 95 % | audited | 95 % |", "|---|---|---|---|---|---|"]
    for protocol, numbers in card["numbers"].items():
        for number, entry in numbers.items():
            cells = [*_cells(entry), *_cells(entry.get("audited") or {})]
            lines.append(f"| {_text(protocol)} | {_text(number)} | {' | '.join(cells)} |")
    return lines


def _text(value: Any) -> str:
    """Text that cannot become markup of the table or the page."""
    line = " ".join(str(value).split())
    return line.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
