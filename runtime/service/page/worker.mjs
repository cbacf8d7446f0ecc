// Runs the network with ONNX Runtime's WebAssembly, beside the page.

import * as ort from "./vendor/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./vendor/", import.meta.url).href;
// Threads need the headers of cross-origin isolation.
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1;

let opened = null;

self.onmessage = async ({ data: { network, width, height, image, mask } }) => {
  try {
    opened ??= ort.InferenceSession.create(network, { executionProviders: ["wasm"] });
    const session = await opened;
    const inputs = {
      image: new ort.Tensor("uint8", image, [1, height, width, 3]),
      mask: new ort.Tensor("uint8", mask, [1, height, width, 1]),
    };
    const outputs = await session.run(inputs);
    const rgb = outputs[session.outputNames[0]].data;
    postMessage({ rgb, threads: ort.env.wasm.numThreads });
  } catch (error) {
    opened = null;
    postMessage({ error: `The network failed in this browser: ${error.message}` });
  }
};
