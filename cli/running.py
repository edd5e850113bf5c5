"""Commands that run a model: `run` on inputs, `chat` with one who types."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from ..runtime.errors import VitrifyError
from .app import MODELS, AllowPickle, Json, MaxDrift, Revision, Threads, TrustRemoteCode, command
from .combinations import not_with, only_with
from .output import Outputs, rate_shown, say, written
from .turns import COMMANDS, help_text, read_turns

Params = Annotated[
    list[str] | None, typer.Option(metavar="NAME=JSON", help="Argument of the task, e.g. top_k=3; repeatable.")
]
Profile = Annotated[str | None, typer.Option("--profile", "-p", metavar="TEXT", help="Profile of the bundle, or auto.")]


@command(MODELS, example="vitrify run text-classification --model ./sst2 'I like it'")
def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Task (see `vitrify tasks`).")],
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUTS", help="Texts, files, URLs or JSON (default: lines of stdin).")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="TEXT", help="Bundle, checkpoint folder or Hub id (default: the task's model)."
        ),
    ] = None,
    input_: Annotated[
        Path | None,
        typer.Option(
            "--input", "-i", metavar="PATH", help="File of inputs: .jsonl, .csv, .tsv, or a text on each line."
        ),
    ] = None,
    field: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Field or column of --input that contains the input.")
    ] = None,
    text: Annotated[
        bool, typer.Option("--text", help="Inputs are texts as they stand, never names of files or JSON.")
    ] = False,
    param: Params = None,
    profile: Profile = None,
    max_drift: MaxDrift = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="INTEGER", min=1, help="Batch size (default: 1; 32 for embedding and ranking)."),
    ] = None,
    threads: Threads = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on after a bad input; exit code 2 if there was any.")
    ] = False,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print a JSON object for each input, with its number or id, as it goes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a task on inputs, without PyTorch."""
    from ..runtime.factory import pipeline
    from ..runtime.pipelines.shared.generation import GenerationPipeline
    from ..runtime.rows.files import read_rows
    from ..runtime.rows.running import run_rows
    from ..runtime.tasks import find_task
    from .inputs import read_parameters, read_stdin, read_words

    only_with("--max-drift", "--profile auto", given=max_drift is not None, met=profile == "auto")
    only_with("--field", "--input", given=field is not None, met=input_)
    not_with("--input", "inputs as arguments", given=input_, met=inputs)
    not_with("--text", "--input", given=text, met=input_)
    not_with("--json", "--jsonl", given=as_json, met=jsonl)
    options, of_calls = read_parameters(param or [])
    if max_drift is not None:
        options["max_drift"] = max_drift
    rows = None if input_ is None else read_rows(input_, field=field)
    pipe = pipeline(
        task,
        model,
        profile=profile,
        batch_size=batch_size,
        threads=threads,
        revision=revision,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
        **options,
    )
    if rows is None and inputs:
        rows = read_words(pipe.task, inputs, as_texts=text)
    elif rows is None:
        rows = read_stdin(pipe.task, _stdin_lines(), as_texts=text)
    outputs = Outputs(
        {"task": pipe.task, "model": pipe.bundle.name, "profile": pipe.profile},
        form="json" if as_json else "jsonl" if jsonl else "text",
        with_input=find_task(pipe.task).inputs != "text",
        keep_going=keep_going,
    )
    if outputs.to_terminal and batch_size in {None, 1} and isinstance(pipe, GenerationPipeline) and pipe.can_stream:
        of_calls["streamer"] = pipe.streamer()
        outputs.is_streamed = True
    with rate_shown() as shown:
        written(shown(run_rows(lambda values: pipe(values, **of_calls), rows)), outputs)


def _stdin_lines() -> Iterator[bytes] | None:
    if sys.stdin is None:
        return None
    if sys.stdin.isatty():
        print("reading lines from stdin (Ctrl-D ends)", file=sys.stderr)
    return iter(sys.stdin.buffer)


@command(MODELS, example="vitrify chat smollm2 --system 'Answer in one sentence.'")
def chat(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Bundle, checkpoint folder or Hub id.")],
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="System prompt.")] = None,
    param: Params = None,
    profile: Profile = None,
    max_drift: MaxDrift = None,
    threads: Threads = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Chat with a generative model; answers appear as they are generated."""
    from ..runtime.factory import pipeline
    from ..runtime.pipelines.conversation import Conversation
    from .inputs import read_parameters

    only_with("--max-drift", "--profile auto", given=max_drift is not None, met=profile == "auto")
    options, of_calls = read_parameters(param or [])
    if max_drift is not None:
        options["max_drift"] = max_drift
    pipe = pipeline(
        "text-generation",
        model,
        profile=profile,
        threads=threads,
        revision=revision,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
        **options,
    )
    conversation = Conversation(pipe, system=system, options=of_calls)
    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    if at_terminal:
        with suppress(ImportError):  # Windows' console edits lines itself
            import readline  # noqa: F401 - lines can be edited, and those before come back

        print(f"{pipe.bundle.name}, {pipe.profile} (/help for help, /exit or Ctrl-D to end)", file=sys.stderr)
    for turn in read_turns(input if at_terminal else lambda _prompt: input()):
        if turn.command is None:
            _answered(conversation, turn.text, at_terminal=at_terminal)
        elif turn.command in {"/reset", "/system"}:
            conversation.reset(turn.text if turn.command == "/system" else None)
        elif turn.command == "/help":
            print(help_text(), file=sys.stderr)
        elif turn.command == "interrupted":
            print("\n(/exit or Ctrl-D ends the chat)", file=sys.stderr)
        else:
            print(
                f"unknown command '{turn.command}' (known: {', '.join(COMMANDS)}; // begins a text with /)",
                file=sys.stderr,
            )


def _answered(conversation: Any, text: str, *, at_terminal: bool) -> None:
    """Print an answer; at a terminal an error is told, and the chat goes on."""
    try:
        conversation.answer(text, lambda part: say(part, end=""))
    except VitrifyError as error:
        if not at_terminal:
            raise
        print(f"vitrify: {error} (/reset forgets the conversation)", file=sys.stderr)
    say("")
