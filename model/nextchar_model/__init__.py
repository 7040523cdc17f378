"""The model: its alphabet, its random numbers, its description, and the runner that executes it.

Training writes model files and the server serves them. Both import this package, which imports neither. It needs NumPy,
onnxruntime and pydantic, never torch.
"""
