"""The picture as anyone would make it without sfumato: the baseline of ``bench generate``, run as a script."""

import sys


def main(model: str, prompt: str, steps: int, seed: int, out: str) -> None:
    """Generates one picture with stock diffusers."""
    import torch
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(model)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    generator = torch.Generator("cpu").manual_seed(seed)
    pipe(prompt, num_inference_steps=steps, guidance_scale=5.0, generator=generator).images[0].save(out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
