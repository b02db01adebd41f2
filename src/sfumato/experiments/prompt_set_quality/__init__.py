"""ObCLIP's table of quality and cost on portrait prompts, with what its authors did not count: who is served worse."""
