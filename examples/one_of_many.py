"""A picture whose cloud reads six prompts and is not told which of them was meant."""

from sfumato import PrivatePipeline, PromptSet


def main() -> None:
    with PrivatePipeline.from_pretrained("portraits", protocol=PromptSet(server_steps="5-3-3")) as pipe:
        output = pipe("a portrait of a young woman with glasses, at the sea", num_inference_steps=25, seed=3)
    output.images[0].save("one_of_many.png")
    (preview,) = output.report.to_dict()["candidate_sets"]
    for probability, prompt in zip(preview["posterior"], preview["candidates"], strict=True):
        print(f"{probability:6.1%}  {prompt}")
    print(output.report.not_hidden[0])


if __name__ == "__main__":
    main()
