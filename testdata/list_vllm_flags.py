"""Lists the options of vLLM's `bench serve`, one a line, from its wheel: `python list_vllm_flags.py vllm-0.33.0-*.whl > vllm_bench_serve.txt`."""

import ast
import sys
import zipfile

FILES = ["vllm/benchmarks/serve.py", "vllm/benchmarks/datasets/datasets.py"]


def flags(source: str):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            for argument in node.args:
                if isinstance(argument, ast.Constant) and str(argument.value).startswith("--"):
                    yield argument.value


with zipfile.ZipFile(sys.argv[1]) as wheel:
    names = {flag for file in FILES for flag in flags(wheel.read(file).decode())}
print("\n".join(sorted(names)))
