// Has the work done that is asked of a sign-in while many try: by a worker, while the form is filled in.
import { say } from "./known.js";

const WORKER = "/web/static/solve.js";

/** The address of the worker, as pages that ask for trusted types want it: this one and no other. */
function trusted() {
  if (globalThis.trustedTypes === undefined) return WORKER;
  return trustedTypes.createPolicy("goodstrace-worker", { createScriptURL: () => WORKER }).createScriptURL("");
}

const work = document.getElementById("work");
const [said, progress, go, counter] = ["work-said", "work-progress", "sign-in-go", "counter"].map((id) => document.getElementById(id));

function end(state) {
  work.dataset.state = state;
  go.disabled = state === "running";
  say(said, said.dataset[state]);
}

function begin() {
  const { challenge, bits } = work.dataset;
  work.hidden = false;
  end("running");
  const worker = new Worker(trusted());
  worker.onmessage = ({ data }) => {
    if (data.counter === undefined) {
      progress.value = 1 - Math.exp(-data.tried / 2 ** Number(bits)); // how likely it is to be solved by now
      return;
    }
    worker.terminate();
    progress.value = 1;
    counter.value = String(data.counter);
    end("done");
  };
  worker.onerror = () => end("failed");
  worker.postMessage({ challenge, bits: Number(bits) });
}

begin();
