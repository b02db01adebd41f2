"""What an audit hands on: report.html, report.json, rows.jsonl and a table."""

from sfumato.audit.report.summary import summary_table
from sfumato.audit.report.writing import write_report

__all__ = ["summary_table", "write_report"]
