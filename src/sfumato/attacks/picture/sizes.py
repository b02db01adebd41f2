"""Sizes that are known without a transcript."""

from sfumato.attacks.view import RunView


def latent_size(view: RunView) -> tuple[int, int]:
    """Rows and columns of the run's latents.

    Raises:
        LacksInput: the run's settings are not known.
    """
    settings = view.known_settings()
    factor = 2 ** (len(view.model.config("vae")["block_out_channels"]) - 1)
    return settings.height // factor, settings.width // factor
