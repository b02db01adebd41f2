"""Who loads what: in fresh processes, because this one has loaded everything."""

import subprocess
import sys

import pytest

WORKER = "import sfumato.worker.service, sfumato.worker.sessions, sfumato.worker.prefork, sfumato.worker.catalog"


def loaded_after(code: str) -> set[str]:
    """Modules of a fresh process after some code."""
    ask = "import sys\ntry:\n    {}\nexcept SystemExit:\n    pass\nprint('\\n' + ' '.join(sys.modules))".format(
        code.replace("\n", "\n    ")
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import sfumato",
        "from sfumato.cli import main; sys.argv = ['sfumato', '--help']; main()",
        "from sfumato.cli import main; sys.argv = ['sfumato', 'generate', '--help']; main()",
        "from sfumato.cli import main; sys.argv = ['sfumato', 'generate', 'x', '--steps', '0']; main()",
        "from sfumato.cli import main; sys.argv = ['sfumato', 'vault', 'put', '--help']; main()",
        "import sfumato.client.local_clouds",
    ],
    ids=["import", "help", "help of generate", "wrong usage", "help of vault put", "local clouds"],
)
def test_torch_is_not_loaded_before_it_is_needed(code):
    loaded = loaded_after(code)
    assert "sfumato" in loaded
    assert not loaded & {"torch", "diffusers", "transformers", "numpy"}


def test_a_cloud_loads_nothing_of_a_client():
    loaded = loaded_after(WORKER)
    assert "sfumato.protocols.layer_split.worker" in loaded
    assert not [m for m in loaded if m.startswith("sfumato.") and (".client" in m or m.startswith("sfumato.cli"))]
    assert "sfumato.protocols.homomorphic.sealed_worker" in loaded
    assert "sfumato.protocols.vault.worker" in loaded
    assert not loaded & {"sfumato.crypto.secret_key", "sfumato.protocols.homomorphic.custody", "tenseal"}
    assert "sfumato.crypto.key_file" not in loaded
    assert "sfumato.models.conditioning" not in loaded, "a cloud has no use for a text encoder"


def test_an_attacker_has_no_key_and_nothing_of_a_client():
    loaded = loaded_after("import sfumato.attacks.catalog")
    assert "sfumato.attacks.homomorphic.key_recovery" in loaded
    assert not [m for m in loaded if m.startswith(("sfumato.client", "sfumato.cli"))]
    assert not loaded & {
        "sfumato.crypto.secret_key",
        "sfumato.crypto.key_search",
        "sfumato.run_secrets",
        "sfumato.protocols.client_half",
        "sfumato.protocols.homomorphic.paper_client",
        "sfumato.protocols.homomorphic.keys",
    }
