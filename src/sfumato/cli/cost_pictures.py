"""``sfumato cost --protocol prompt-set``: whole pictures instead of steps."""

import json
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sfumato.cost.link import Link
    from sfumato.cost.picture import PictureCost
    from sfumato.cost.speeds import Speeds
    from sfumato.models.folder import ModelFolder
    from sfumato.protocols.prompt_set.spec import PromptSet


def count_pictures(
    model: "ModelFolder",
    spec: "PromptSet",
    link: "Link",
    *,
    device_model: str | None,
    candidates: list[int],
    steps: int,
    height: int | None,
    width: int | None,
    guided: bool,
    speeds: "Speeds",
    as_published: bool,
) -> "list[PictureCost]":
    """One cost for each number of candidates; a bundled model's own device model is taken where none is named.

    As published, attention maps are reused whatever the spec says.
    """
    from dataclasses import replace

    from sfumato.client.private import DEVICE_MODELS
    from sfumato.cost.picture import count_picture
    from sfumato.models.folder import find_architecture

    named = device_model or DEVICE_MODELS.get(model.name)
    device = find_architecture(named) if named else None
    return [
        count_picture(
            model,
            replace(spec, reuse_maps=True) if as_published else spec,
            link,
            num_candidates=number,
            num_inference_steps=steps,
            device_model=device,
            height=height,
            width=width,
            guided=guided,
            speeds=speeds,
        )
        for number in candidates
    ]


def print_pictures(costs: "list[PictureCost]", *, as_json: bool, as_published: bool) -> None:
    """A table, or one object, or a list for several numbers of candidates."""
    if as_json:
        objects = [cost.to_dict() for cost in costs]
        typer.echo(json.dumps(objects[0] if len(objects) == 1 else objects, indent=2))
        return
    from sfumato.cli.wide import print_wide
    from sfumato.cost.picture_table import picture_table

    print_wide([picture_table(costs, as_published=as_published)])
