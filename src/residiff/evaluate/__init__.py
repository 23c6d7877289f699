"""Scoring restored pictures: which are compared, by which protocol, and what came of it."""

from residiff.evaluate.cost import cost_rows, parse_size, timed_row
from residiff.evaluate.cost import measure as measure_cost
from residiff.evaluate.distributions import SetEvaluation
from residiff.evaluate.folders import Evaluation, PairEvaluation, evaluate, open_evaluation
from residiff.evaluate.pairing import degraded_of, listed, pair
from residiff.evaluate.protocol import Protocol, Saving, SetProtocol
from residiff.evaluate.protocols import DEFAULT, PROTOCOLS, described
from residiff.evaluate.protocols import find as find_protocol
from residiff.evaluate.protocols import find_paired as find_paired_protocol
from residiff.evaluate.published import PublishedTable, published_costs, published_table, published_tables
from residiff.evaluate.restoring import ModelEvaluation, open_model_evaluation
from residiff.evaluate.results import RESULT, Result, Score, check_comparable, finite, inputs_of
from residiff.evaluate.results import load as load_result
from residiff.evaluate.scoring import Scored, hashes_of, scan
from residiff.evaluate.statistics import Difference, Interval, bootstrap, difference, holm
from residiff.evaluate.tables import Table, TableFormat, rows_of, table_of, write_result, write_table, written

__all__ = [
    "DEFAULT",
    "PROTOCOLS",
    "RESULT",
    "Difference",
    "Evaluation",
    "Interval",
    "ModelEvaluation",
    "PairEvaluation",
    "Protocol",
    "PublishedTable",
    "Result",
    "Saving",
    "Score",
    "Scored",
    "SetEvaluation",
    "SetProtocol",
    "Table",
    "TableFormat",
    "bootstrap",
    "check_comparable",
    "cost_rows",
    "degraded_of",
    "described",
    "difference",
    "evaluate",
    "find_paired_protocol",
    "find_protocol",
    "finite",
    "hashes_of",
    "holm",
    "inputs_of",
    "load_result",
    "measure_cost",
    "open_evaluation",
    "open_model_evaluation",
    "parse_size",
    "listed",
    "pair",
    "published_costs",
    "published_table",
    "published_tables",
    "rows_of",
    "scan",
    "table_of",
    "timed_row",
    "write_result",
    "write_table",
    "written",
]
