"""What a model is: its alphabet, its random numbers, its description, and the runner that executes it.

Training writes model files and the server serves them; both import this package, and it imports neither. It needs NumPy
and onnxruntime, never torch.
"""
