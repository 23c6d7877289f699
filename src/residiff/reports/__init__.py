"""Reports: pages that hold everything they show."""

from residiff.reports.comparison import Comparison, OpenComparison, open_comparison
from residiff.reports.comparison_page import check_page, comparison_pieces, write_comparison
from residiff.reports.ground import Ground
from residiff.reports.method_tables import difference_table, mean_table
from residiff.reports.standings import Standing, Verdict, figures, standings
from residiff.reports.training import training_report, write_training
from residiff.reports.words import over

__all__ = [
    "Comparison",
    "Ground",
    "OpenComparison",
    "Standing",
    "Verdict",
    "check_page",
    "comparison_pieces",
    "difference_table",
    "figures",
    "mean_table",
    "open_comparison",
    "over",
    "standings",
    "training_report",
    "write_comparison",
    "write_training",
]
