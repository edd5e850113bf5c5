// Runs a bundle in transformers.js, from a server on this machine: a request in JSON on stdin, its answer on stdout.
import { readFileSync } from "node:fs";
import { AutoModelForCausalLM, AutoTokenizer, env, pipeline } from "@huggingface/transformers";

const { host, cache, model, task, inputs, options } = JSON.parse(readFileSync(0, "utf8"));
env.remoteHost = host;
env.remotePathTemplate = "{model}/";
env.allowLocalModels = false;
env.cacheDir = cache;

async function written() {
  const tokenizer = await AutoTokenizer.from_pretrained(model);
  const decoder = await AutoModelForCausalLM.from_pretrained(model, { dtype: "fp32" });
  return decoder.generate({ ...tokenizer(inputs), ...options });
}

async function answered() {
  const pipe = await pipeline(task, model, { dtype: "fp32" });
  return pipe(inputs, options);
}

const made = await (task === "generate" ? written() : answered());
const plain = typeof made.tolist === "function" ? made.tolist() : made;
console.log(JSON.stringify(plain, (_, value) => (typeof value === "bigint" ? Number(value) : value)));
