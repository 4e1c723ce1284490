#!/usr/bin/env python3
"""Compiles the GPU's kernels with NVIDIA's own compiler for each architecture, without a GPU, and checks what they need:
no spilled registers, and few enough registers for two blocks of 256 threads on a multiprocessor. By hand, from the
repository's root:

    python3 -m venv /tmp/nv && /tmp/nv/bin/pip install nvidia-cuda-nvrtc nvidia-cuda-cuobjdump
    /tmp/nv/bin/python tests/cuda/resources.py
"""

import ctypes
import pathlib
import re
import subprocess
import sys
import sysconfig
import tempfile
import time

KERNELS = pathlib.Path("src/kernels/cuda")
SOURCES = re.findall(r'include_str!\("source/(.+?)"\)', (KERNELS / "compile.rs").read_text())
ARCHITECTURES = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
MOST_REGISTERS = 128  # 65,536 of a multiprocessor for two blocks of 256 threads


def library():
    packages = pathlib.Path(sysconfig.get_paths()["purelib"]) / "nvidia"
    folder = next(packages.glob("*/lib/libnvrtc.so.*")).parent
    for builtins in folder.glob("libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(builtins))
    return ctypes.CDLL(str(next(folder.glob("libnvrtc.so.*")))), next(packages.glob("*/bin/cuobjdump"))


def compiled(nvrtc, source, options):
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"sempair.cu", 0, None, None)
    options = [option.encode() for option in options]
    failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    if failed or log.value.strip():
        sys.exit(f"{options}: {log.value.decode()}")
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    image = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, image)
    return image.raw


def main():
    nvrtc, cuobjdump = library()
    source = b"".join((KERNELS / "source" / name).read_bytes() for name in SOURCES)
    wrong = 0
    for architecture in ARCHITECTURES:
        for format in ["f32", "bf16"]:
            start = time.time()
            options = [f"--gpu-architecture={architecture}", "--std=c++17"] + ["-DBF16"] * (format == "bf16")
            image = compiled(nvrtc, source, options)
            seconds = time.time() - start
            with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
                file.write(image)
                file.flush()
                usage = subprocess.run([cuobjdump, "--dump-resource-usage", file.name], capture_output=True, text=True)
            kernels = re.findall(r"Function (\w+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", usage.stdout)
            most = max(kernels, key=lambda kernel: int(kernel[1]))
            print(f"{architecture} {format}: {len(kernels)} kernels in {seconds:.1f} s, {len(image)} bytes, "
                  f"at most {most[1]} registers ({most[0]})")
            for name, registers, stack, _, local in kernels:
                if int(stack) or int(local) or int(registers) > MOST_REGISTERS:
                    wrong += 1
                    print(f"  {name}: {registers} registers, {stack} bytes of stack, {local} bytes spilled")
    sys.exit(1 if wrong else 0)


main()
