"""No file runs code. tests/weights/test_torch_file.py has the malicious weights."""

import dangerous_calls


def test_no_call_in_the_package_could_run_code_from_a_file():
    assert dangerous_calls.dangerous_calls() == []
