"""The ROS 2 nodes of tvau: `node` runs the model on cameras, `camera` publishes a video source, `demo` shows both.

They convert messages, call `tvau_runtime`, and publish. What is computed stands there, not here.
"""
