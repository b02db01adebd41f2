"""Records a run and looks at it as the first cloud's operator would."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from sfumato import LayerSplit, simulate
from sfumato.client.wrapped_clouds import RecordedClouds
from sfumato.models.folder import find_model
from sfumato.simulation import InProcessClouds
from sfumato.transport.recording import Recording
from sfumato.worker.sessions import serve_model


def main() -> None:
    with TemporaryDirectory() as folder:
        model, spec = find_model("portraits"), LayerSplit(num_clouds=4)
        clouds = RecordedClouds(InProcessClouds(serve_model(model), 4), Path(folder) / "run")
        simulate(model, spec, clouds=clouds)("a man with glasses", num_inference_steps=2, seed=1)
        transcript = Recording.read(Path(folder) / "run").transcripts["cloud-1"]
        print(Counter(entry.kind for entry in transcript.entries))
        first = next(entry for entry in transcript.entries if entry.kind == "ConvStrip")
        print("its first strip of the latent:", tuple(first.tensors["rows"].shape))


if __name__ == "__main__":
    main()
