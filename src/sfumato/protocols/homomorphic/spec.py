"""All that is public about ``homomorphic`` but its messages: the settings, and what they claim.

Source: Chen and Yan 2024, "Privacy-Preserving Diffusion Model Using Homomorphic Encryption", arXiv 2403.05794. Sealed
mode is ours: it encrypts everything and runs no U-Net at the cloud that holds the ciphertexts.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from sfumato.crypto.parameters import CkksParameters, parameters_named
from sfumato.protocols.base import Spec, setting

_PAPERS_OWN = {"threshold": 0.01, "selection": "min-distortion", "accept_plaintext_unet": False}
"""Settings that sealed mode has no use for, with their defaults."""


@dataclass(frozen=True, kw_only=True)
class Homomorphic(Spec):
    """One cloud updates encrypted latents: all of each, or as published a part of each."""

    name: ClassVar[str] = "homomorphic"

    mode: Literal["sealed", "paper"] = setting(
        "sealed",
        "sealed: everything that the cloud is sent is encrypted; paper: as HE-Diffusion, a part of each latent, which "
        "hides little (see the report)",
    )
    denoiser: Literal["client", "cloud"] = setting(
        "client", "who runs the U-Net, in the clear; cloud: only mode=paper, and it hides nothing"
    )
    denoise_with: Literal["nothing", "strip-split", "layer-split"] = setting(
        "nothing",
        "protocol that offloads the U-Net to further clouds, in sealed mode: the first cloud holds the ciphertexts, "
        "the others denoise; settings of that protocol are denoise.FIELD=VALUE",
    )
    threshold: float = setting(
        0.01, "mode=paper: entries stay in the clear up to this part of a latent's distortion, 0 (none) to 1 (all)"
    )
    selection: Literal["min-distortion", "random", "all", "none"] = setting(
        "min-distortion", "mode=paper: which entries are encrypted; random: as many, wherever; all and none to compare"
    )
    accept_plaintext_unet: bool = setting(
        False, "true: denoiser=cloud may be used, although the cloud then reads the text and every latent"
    )
    parameters: Literal["default", "sealed", "compact", "one-level", "he-diffusion"] = setting(
        "default",
        "CKKS parameters, 128 bits secure all: sealed or compact (more and smaller ciphertexts, larger errors) in "
        "sealed mode; he-diffusion (as released) or one-level (exacter and smaller) in mode=paper; default: the first "
        "of the two",
    )

    @property
    def num_own_clouds(self) -> int:
        """One, beside those that only denoise."""
        return self.num_clouds if self.denoise_with == "nothing" else 1

    @property
    def ckks(self) -> CkksParameters:
        """The parameters that the setting stands for."""
        default = "sealed" if self.mode == "sealed" else "he-diffusion"
        return parameters_named(default if self.parameters == "default" else self.parameters)

    def problems(self) -> list[str]:
        """Settings of the other mode, a U-Net in the clear that was not accepted, and clouds that have no part."""
        found = super().problems()
        if found:
            return found
        return [*self._problems_with_mode(), *self._problems_with_clouds()]

    def _problems_with_mode(self) -> list[str]:
        found = []
        needs_depth = self.mode == "paper"
        if (self.ckks.depth > 0) != needs_depth:
            fitting = "he-diffusion or one-level" if needs_depth else "sealed or compact"
            found.append(f"parameters={self.parameters} are not for mode={self.mode}: use {fitting}")
        if not 0 <= self.threshold <= 1:
            found.append(f"threshold must be in [0, 1], got {self.threshold}")
        if self.mode == "sealed":
            given = [name for name, default in _PAPERS_OWN.items() if getattr(self, name) != default]
            given += ["denoiser=cloud"] if self.denoiser == "cloud" else []
            if given:
                found.append(f"{' and '.join(given)} would weaken mode=sealed: for the published form set mode=paper")
        elif self.denoiser == "cloud" and not self.accept_plaintext_unet:
            found.append(
                "with denoiser=cloud the cloud reads the text embedding and every latent, so nothing is hidden: set "
                "accept_plaintext_unet=true to run it all the same, or denoiser=client"
            )
        if self.mode == "paper" and self.denoise_with != "nothing":
            found.append(f"denoise_with={self.denoise_with} is of mode=sealed: leave it out, or set mode=sealed")
        return found

    def _problems_with_clouds(self) -> list[str]:
        if self.denoise_with == "nothing":
            if self.num_clouds == 1:
                return []
            return [
                f"num_clouds must be 1, got {self.num_clouds}: one cloud holds the ciphertexts; more can denoise with "
                "denoise_with=strip-split or layer-split"
            ]
        if self.num_clouds > 1:
            return []
        return [f"denoise_with={self.denoise_with} needs two clouds or more, the first for the ciphertexts, got 1"]

    @property
    def claim(self) -> str:
        """All or nothing, nearly."""
        if self.mode == "sealed":
            return self._sealed_claim
        if self.denoiser == "cloud":
            return (
                "No confidentiality: the cloud reads the text embedding and every latent, and runs the U-Net on them "
                "in the clear; what is encrypted besides hides nothing, and the decrypted values that it is sent can "
                "give the key away."
            )
        return (
            "Hides little: a part of each latent is encrypted (CKKS, 128 bits), but the cloud reads the other entries "
            "and every prediction, from which the picture is found; the prompt stays on this device, which runs the "
            "U-Net."
        )

    @property
    def _sealed_claim(self) -> str:
        first = (
            "The cloud receives the latents of every step as ciphertexts alone (CKKS, 128 bits), and no prompt, noise, "
            "prediction or decrypted value; "
        )
        if self.denoise_with == "nothing":
            return first + (
                "nothing is offloaded: the U-Net runs on this device, and encryption is more work than the update that "
                "the cloud makes."
            )
        return first + (
            f"the U-Net runs on {self.num_clouds - 1} other {_clouds(self.num_clouds - 1)}, to which nothing is "
            f"encrypted: what they see is what {self.denoise_with} shows them."
        )

    def seen_by(self, cloud_index: int) -> str:
        """Ciphertexts, and what stands beside them."""
        if self.mode == "sealed":
            if cloud_index:
                return f"what {self.denoise_with} shows a cloud"
            return "ciphertexts of the latents, their number"
        if self.denoiser == "cloud":
            return "the whole latent, the text embedding"
        return "a part of each latent, every prediction"

    @property
    def not_hidden(self) -> tuple[str, ...]:
        """Sizes, numbers, times; and what a cloud can still do."""
        if self.mode == "sealed":
            others = self.num_clouds - self.num_own_clouds
            offloaded = (
                f", and that {others} other {_clouds(others)} denoise with {self.denoise_with}" if others else ""
            )
            return (
                "The cloud sees the model, how many ciphertexts hold a latent, the number of steps and the timing"
                f"{offloaded}.",
                "A cloud can change what its ciphertexts decrypt to; this device finds it out at the end and does not "
                "say so, but a run that is repeated, or broken off, can be seen.",
            )
        read = (
            "the text embedding, and with it the prompt, and every latent, and with it the picture"
            if self.denoiser == "cloud"
            else "every prediction of the U-Net, and from them most of the picture"
        )
        return (
            f"The cloud reads {read}.",
            "The cloud sees which entries are encrypted, which depends on the latent, and all others; an entry that is "
            "in the clear in one step is known in all steps, as the updates are known.",
            "Values that were decrypted go back to the cloud; where they fill a ciphertext, two give the key away.",
        )


def _clouds(number: int) -> str:
    return "cloud" if number == 1 else "clouds"
