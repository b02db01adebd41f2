"""A picture from four local clouds, and what they saw."""

from sfumato import LayerSplit, PrivatePipeline


def main() -> None:
    spec = LayerSplit(num_clouds=4, cross_attention="client", wire_dtype="fp16")
    with PrivatePipeline.from_pretrained("portraits", protocol=spec) as pipe:
        output = pipe("an old man with a grey beard and a hat, at the sea", num_inference_steps=20, seed=11)
    output.images[0].save("private_picture.png")
    totals = output.report.to_dict()["totals"]
    print(f"{totals['sent_bytes'] / 1e6:.1f} MB sent in {totals['rounds']} rounds")
    print(output.report.spec.claim)


if __name__ == "__main__":
    main()
