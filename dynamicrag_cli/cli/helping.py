"""What `--help` shows, and in which order; and that an option has one name everywhere, in the environment too."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

from dynamicrag_cli.cli.config import option_key

# The commands of `drag --help`.
SECTIONS = {
    "The pipeline, in order": (
        *("index", "retrieve", "rerank-teacher", "build-bc", "train", "sample", "reward", "build-dpo"),
        *("infer", "eval", "report"),
    ),
    "Look at files, convert and join them": ("validate", "show", "audit", "convert", "merge", "schema"),
    "Before a run": ("check", "doctor", "plan"),
}


class Command(TyperCommand):
    """A command that shows apart which of its options never change the result.

    The variable of an option is DRAG_COMMAND_OPTION with the name of the flag, said once for all instead of at every option.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name the variables, then parse."""
        for param in self.params:
            if param.param_type_name == "option" and param.envvar is None:
                param.envvar = f"{ctx.auto_envvar_prefix}_{option_key(param).replace('-', '_').upper()}"
                param.show_envvar = False  # type: ignore[attr-defined]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, options, and those that only say how the command runs."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            panel = getattr(param, "rich_help_panel", None)
            title = "Arguments" if param.param_type_name == "argument" else f"{panel}, without an effect on the result"
            if record := param.get_help_record(ctx):
                rows.setdefault(title if panel or title == "Arguments" else "Options", []).append(record)
        for title, records in rows.items():
            with formatter.section(title):
                formatter.write_dl(records)
        with formatter.section("Elsewhere"):
            file = "in a pipeline file (--config) and " if any(param.name == "config" for param in self.params) else ""
            formatter.write_text(f"An option may also stand {file}in the environment, as {ctx.auto_envvar_prefix}_OPTION.")


class Group(TyperGroup):
    """`drag`, whose commands are shown by what one wants to do."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Every section's commands with the start of their help."""
        for title, names in SECTIONS.items():
            width = formatter.width - 6 - max(map(len, names))
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(width)) for name in names])
