"""`coe router`: what runs experts for the router's studies, and the commands of the package `router`.

Those are modules with a grammar of their own, which raise ValueError or OSError for input that the user has to
mend.
"""

from __future__ import annotations

from coe.cli.commands import CommandParser, add_command

__all__ = ["add_arguments"]

INPUT_ERRORS = (ValueError, OSError)
COMMANDS = {
    "suggest": ("router.proposals.suggest_command", "propose categories and experts for prompts without labels"),
    "train": ("router.training.train_command", "train a router on prompts of your own"),
    "retrain": ("router.versions.retrain_command", "train on rows and feedback; shadow or serve what passes the gate"),
    "promote": ("router.versions.promote_command", "serve the version in shadow"),
    "rollback": ("router.versions.rollback_command", "serve the version before"),
    "versions": ("router.versions.versions_command", "the versions of a router, and their gates"),
    "evaluate": ("coe.cli.router_commands.evaluate", "measure a router on held-out prompts"),
    "learning-curve": ("router.evaluation.learning_curve", "how right own categories are by rows a category"),
    "map": ("router.mapping_study.map_command", "learn category -> expert under a budget"),
    "frontier": ("coe.cli.router_commands.frontier", "sweep the budget: quality against cost"),
    "judge": ("router.mapping_study.judging.judge_command", "judge a mapping on another score table"),
    "stickiness": ("router.evaluation.stickiness_command", "follow-ups that stay, new topics that move"),
    "switching": ("router.spending_study.switching_command", "what a price of loading keeps of the score"),
    "difficulty": ("router.spending_study.difficulty_command", "whether a prompt says who is right on it"),
    "explain": ("router.evaluation.explain_command", "say why a prompt goes where it goes"),
}


def add_arguments(parser: CommandParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="|".join([*COMMANDS, "score", "opinion"]))
    text = "run experts over labelled prompts; writes what `map` reads"
    add_command(commands, "score", text, "coe.cli.router_commands.score", reads_config=True)
    text = "what the general expert's likelihoods add where the router is unsure"
    add_command(commands, "opinion", text, "coe.cli.router_commands.opinion", reads_config=True)
    for name, (module, help_text) in COMMANDS.items():
        add_command(commands, name, help_text, module, input_errors=INPUT_ERRORS)
