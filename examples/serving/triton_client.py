"""Ask `ulfine serve`, Triton or KServe through NVIDIA's client: pip install 'tritonclient[http]'.

    python triton_client.py 127.0.0.1:8000 MODEL rows.npy
    python triton_client.py 127.0.0.1:8000 MODEL picture.jpg

Rows are what the file takes: features (n, D), pixels (n, 3, H, W), or uint8 images (n, H, W, 3). A picture can be sent
as it is to a file that was exported with --input image.
"""

import sys

import numpy as np
import tritonclient.http
from PIL import Image


def main():
    address, model, file = sys.argv[1:]
    client = tritonclient.http.InferenceServerClient(address)
    (described,) = client.get_model_metadata(model)["inputs"]
    rows = np.load(file) if file.endswith(".npy") else np.asarray(Image.open(file).convert("RGB"))[None]
    tensor = tritonclient.http.InferInput(described["name"], list(rows.shape), described["datatype"])
    tensor.set_data_from_numpy(rows)
    wanted = tritonclient.http.InferRequestedOutput("probabilities", class_count=1)
    answer = client.infer(model, [tensor], outputs=[wanted])
    for row, (best,) in enumerate(answer.as_numpy("probabilities")):
        probability, _, name = best.decode().split(":", 2)
        print(f"row {row}: {name} {float(probability):.4f}")


if __name__ == "__main__":
    main()
