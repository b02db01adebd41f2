import subprocess
import sys


def test_the_preview_needs_no_torch():
    code = (
        "import sys; from sfumato.protocols.prompt_set.candidates import candidate_set;"
        "from sfumato.protocols.prompt_set.candidates.prior import posterior;"
        "posterior(candidate_set('an old man').prompts);"
        "print(*{'torch', 'transformers', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
