"""Training of character-level recurrent models, and their export to one ONNX file.

Data flows one way, and a module imports only modules before it:

    text → alphabet → corpus → network → trainer → checkpoint → graph → export → model file → runner

``alphabet``, ``uniform``, ``model_file`` and ``runner`` are free of torch: the server builds on them.
"""
