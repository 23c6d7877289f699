"""Scoring restored pictures: which are compared, by which protocol, and what came of it."""

from residiff.evaluate.cost import cost_rows, parse_size, timed_row
from residiff.evaluate.cost import measure as measure_cost
from residiff.evaluate.distributions import SetEvaluation
from residiff.evaluate.folders import Evaluation, PairEvaluation, evaluate, open_evaluation
from residiff.evaluate.protocol import Protocol, SetProtocol
from residiff.evaluate.protocols import DEFAULT, PROTOCOLS, described
from residiff.evaluate.protocols import find as find_protocol
from residiff.evaluate.published import PublishedTable, published_costs, published_table, published_tables
from residiff.evaluate.restoring import ModelEvaluation, open_model_evaluation
from residiff.evaluate.results import Result, Score, check_comparable
from residiff.evaluate.results import load as load_result
from residiff.evaluate.statistics import Difference, Interval, bootstrap, difference, holm
from residiff.evaluate.tables import TableFormat, rows_of, table_of, write_result, write_table

__all__ = [
    "DEFAULT",
    "PROTOCOLS",
    "Difference",
    "Evaluation",
    "Interval",
    "ModelEvaluation",
    "PairEvaluation",
    "Protocol",
    "PublishedTable",
    "Result",
    "Score",
    "SetEvaluation",
    "SetProtocol",
    "TableFormat",
    "bootstrap",
    "check_comparable",
    "described",
    "difference",
    "evaluate",
    "find_protocol",
    "holm",
    "load_result",
    "open_evaluation",
    "open_model_evaluation",
    "published_costs",
    "published_table",
    "published_tables",
    "rows_of",
    "table_of",
    "write_result",
    "write_table",
    "timed_row",
    "parse_size",
    "measure_cost",
    "cost_rows",
]
