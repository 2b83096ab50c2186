"""A receipt as a page to print: one file with nothing outside it, for A4 and for screens. All text in it is escaped."""

from collections.abc import Iterable
from html import escape

from energyshare.values import id_text
from terminals.telling import part_name
from terminals.units import plain, time_text
from terminals.user.receipt_text import LineText, history_lines, line_text, proof_text, sums, used_text
from terminals.user.receipts import Receipt

STYLE = """
@page { size: A4; margin: 14mm 16mm }
* { box-sizing: border-box }
body { font: 10.5pt/1.45 system-ui, "Helvetica Neue", Arial, sans-serif; color: #1b1f24; margin: 0 auto; padding: 12mm 8mm;
  max-width: 178mm }
header { display: flex; justify-content: space-between; align-items: baseline; border-bottom: 2px solid #1b1f24;
  padding-bottom: 3mm; margin-bottom: 5mm }
h1 { font-size: 17pt; margin: 0 }
h2 { font-size: 9pt; text-transform: uppercase; letter-spacing: .06em; color: #57606a; margin: 7mm 0 1.5mm }
dl { display: grid; grid-template-columns: 38mm 1fr; gap: 1mm 4mm; margin: 0 }
dt { color: #57606a } dd { margin: 0; overflow-wrap: anywhere }
table { width: 100%; border-collapse: collapse }
th { text-align: left; font-weight: 600; border-bottom: 1px solid #8c959f; padding: 1.2mm 2mm 1.2mm 0 }
td { padding: 1.2mm 2mm 1.2mm 0; border-bottom: 1px solid #d8dee4; overflow-wrap: anywhere; vertical-align: top }
th.n, td.n { text-align: right; padding-right: 0; padding-left: 3mm; white-space: nowrap; font-variant-numeric: tabular-nums }
tr { break-inside: avoid }
tr.total td { font-weight: 700; font-size: 12pt; border-bottom: 2px solid #1b1f24 }
.proof { margin-top: 6mm; padding: 3mm 4mm; border: 1px solid #1a7f37; border-left-width: 4px }
.proof.no { border-color: #cf222e; font-weight: 600 }
.evidence td { padding: .4mm 2mm .4mm 0; font-size: 8.5pt }
.hash { font: 7.5pt/1.35 ui-monospace, Menlo, Consolas, monospace; white-space: normal }
footer { margin-top: 6mm; color: #57606a; font-size: 8.5pt }
@media print { body { padding: 0; max-width: none; font-size: 9.5pt } h2 { margin-top: 5mm } }
"""

FOOTER = "A hash is SHA-256 over a label and the signed bytes. Amounts of lines are shown rounded; the totals are rounded once."


def receipt_html(receipt: Receipt) -> str:
    """Write a receipt as a page of HTML that needs nothing else."""
    title = f"EnergyShare receipt, order {receipt.number}"
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>",
            f"<header><h1>EnergyShare receipt</h1><span>order {receipt.number}</span></header>",
            _facts(receipt),
            "<h2>What was delivered</h2>",
            _lines(receipt),
            "<h2>What it comes to</h2>",
            _sums(receipt),
            *_history(receipt),
            _proof(receipt),
            "<h2>Signed evidence</h2>",
            _evidence(receipt),
            f"<footer>{FOOTER}</footer>",
            "</body></html>",
            "",
        )
    )


def _facts(receipt: Receipt) -> str:
    record = receipt.record
    rows = [
        ("Customer", receipt.name),
        ("Provider", id_text(record.provider_id)),
        ("Where", f"{record.kind.name.lower()} at {receipt.place}"),
        ("When", used_text(record)),
        ("Order", id_text(receipt.order_id)),
        ("Settled", time_text(record.settled_time)),
        ("Billed by", receipt.basis),
    ]
    rows += [("Charge", receipt.battery)] if receipt.battery else []
    return "<dl>" + "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in rows) + "</dl>"


def _lines(receipt: Receipt) -> str:
    names = ("", "amount", "price", "VAT", f"without VAT, {receipt.currency}")
    head = "".join(f"<th{_class(number)}>{_text(name)}</th>" for number, name in enumerate(names))
    rows = (_cells(line_text(line, receipt.currency)) for line in receipt.record.lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{_rows(rows)}</tbody></table>"


def _cells(line: LineText) -> Iterable[str]:
    return (line.what, line.volume, line.price, line.vat, line.excl_vat)


def _sums(receipt: Receipt) -> str:
    rows = (
        f'<tr{_total(what)}><td>{_text(what)}</td><td class="n">{_text(amount)}</td></tr>' for what, amount in sums(receipt)
    )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _total(what: str) -> str:
    return ' class="total"' if what == "total" else ""


def _history(receipt: Receipt) -> list[str]:
    lines = history_lines(receipt)
    if not lines:
        return []
    return ["<h2>Claims, rulings, corrections</h2>", "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>"]


def _proof(receipt: Receipt) -> str:
    verdict = "proof" if receipt.fault is None else "proof no"
    words = proof_text(receipt)
    return f'<p class="{verdict}">{_text(words[0].upper() + words[1:])}</p>'


def _evidence(receipt: Receipt) -> str:
    parts = [(part_name(kind), digest.hex()) for kind, digest in receipt.parts]
    parts += [("charge record", receipt.bills[-1].digest.hex())]
    rows = (f'<tr><td>{_text(name)}</td><td class="hash">{_text(digest)}</td></tr>' for name, digest in parts)
    return f'<table class="evidence"><tbody>{"".join(rows)}</tbody></table>'


def _rows(rows: Iterable[Iterable[str]]) -> str:
    return "".join(
        "<tr>" + "".join(f"<td{_class(number)}>{_text(cell)}</td>" for number, cell in enumerate(row)) + "</tr>" for row in rows
    )


def _class(number: int) -> str:
    return ' class="n"' if number else ""


def _text(text: str) -> str:
    return escape(plain(text))
