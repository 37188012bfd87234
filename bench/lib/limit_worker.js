// One more thread for the limits: does what it is told and answers when it is done.
import { Limits } from "./limit_kernels.js";
const limits = new Limits();
self.onmessage = ({ data: [what, value] }) => {
  if (what === "result") return self.postMessage(limits.result(value));
  limits[what](value);
  self.postMessage(null);
};
