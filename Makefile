.PHONY: demo test check train clean

demo:      ## a picture from four local clouds, from a fresh clone
	@scripts/demo

test:      ## everything that must hold: scripts/check and the tests
	@scripts/check
	@scripts/test

check:     ## format, lint, types, import contracts
	@scripts/check

train:     ## trains the bundled models again (hours; see training/README.md)
	@scripts/train

clean:     ## removes what the other targets made
	rm -rf .venv out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
