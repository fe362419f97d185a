// The openai package of npm: models, chat whole and streamed, zodResponseFormat with parse(), runTools, completions,
// embeddings.
//
// Run: node with_openai_npm.mjs, in a folder where `npm install openai zod` has been done (COE_URL is the server,
// http://127.0.0.1:8000 by default).
//
// needs: openai, zod

import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const url = process.env.COE_URL ?? "http://127.0.0.1:8000";
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: process.env.COE_API_KEY || "none", maxRetries: 0 });
const asked = { model: "coe", messages: [{ role: "user", content: "What is the capital of France?" }], temperature: 0 };
const weather = z.strictObject({ city: z.enum(["Paris", "Rome"]), days: z.literal([1, 2, 3]) });
const parameters = {
  type: "object",
  properties: { city: { enum: ["Paris", "Rome"] }, days: { enum: [1, 2, 3] } },
  required: ["city", "days"],
  additionalProperties: false,
};

const models = [];
for await (const model of client.models.list()) models.push(model.id);
console.log("models:", models.join(", "));

const { data, response } = await client.chat.completions.create({ ...asked, max_tokens: 16 }).withResponse();
const whole = data.choices[0].message.content;
console.log(`${response.headers.get("x-coe-expert")}: ${whole}`);
let streamed = "";
for await (const chunk of await client.chat.completions.create({ ...asked, max_tokens: 16, stream: true })) {
  streamed += chunk.choices[0]?.delta.content ?? "";
}
assert.equal(streamed, whole);
const helper = client.chat.completions.stream({ ...asked, max_tokens: 16, stream_options: { include_usage: true } });
assert.equal(await helper.finalContent(), whole);
console.log("streamed, by hand and by its helper: the same text,", (await helper.totalUsage()).total_tokens, "tokens");

const form = zodResponseFormat(weather, "weather");
const parsed = await client.chat.completions.parse({ ...asked, max_tokens: 128, response_format: form });
console.log("parse():", weather.parse(parsed.choices[0].message.parsed));

const called = [];
const tool = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Say what the weather in a city will be.",
    parameters,
    parse: (text) => weather.parse(JSON.parse(text)),
    function: (found) => {
      called.push(found);
      return { sky: "clear" };
    },
  },
};
const named = { type: "function", function: { name: "get_weather" } };
for (const stream of [false, true]) {
  const settings = { ...asked, max_tokens: 128, stream, tools: [tool], tool_choice: named };
  // a choice by name ends when the function has been called
  await client.chat.completions.runTools(settings).done();
}
assert.deepEqual(called[0], called[1]);
console.log("runTools, whole and streamed:", called[0]);
let steps = 0;
const runner = client.chat.completions.runTools(
  { ...asked, max_tokens: 128, tools: [tool], tool_choice: "required", parallel_tool_calls: false },
  { maxChatCompletions: 2 },
);
runner.on("functionToolCallResult", () => (steps += 1));
await runner.done();
assert.equal(steps, 2); // the second call was made knowing the first one's result
console.log("runTools, required:", runner.messages.map((message) => message.role).join(", "));

const prompts = ["The capital of France is", "One, two, three,"];
const continued = await client.completions.create({ model: "general", prompt: prompts, max_tokens: 4, temperature: 0 });
console.log("completions:", continued.choices.map((choice) => choice.text));

const vectors = await client.embeddings.create({ model: "coe", input: ["one", "two"] });
const short = await client.embeddings.create({ model: "coe", input: "one", dimensions: 32, encoding_format: "float" });
console.log("embeddings:", vectors.data.map((each) => each.embedding.length), short.data[0].embedding.length);

await assert.rejects(client.chat.completions.create({ ...asked, max_token: 4 }), (error) => {
  assert.ok(error instanceof OpenAI.BadRequestError);
  console.log("a misspelt field:", error.message);
  return true;
});

const responded = await client.responses.create({ model: "coe", input: "What is the capital of France?", temperature: 0, max_output_tokens: 16 });
const events = client.responses.stream({ model: "coe", input: "What is the capital of France?", temperature: 0, max_output_tokens: 16 });
assert.equal((await events.finalResponse()).output_text, responded.output_text);
const flat = { type: "function", name: "get_weather", parameters, strict: true };
const using = { model: "coe", input: "The weather in Paris?", tools: [flat], tool_choice: "required", parallel_tool_calls: false };
const use = await client.responses.create({ ...using, temperature: 0, max_output_tokens: 128 });
const [item] = use.output.filter((each) => each.type === "function_call");
weather.parse(JSON.parse(item.arguments));
const next = await client.responses.create({
  model: "coe",
  previous_response_id: use.id,
  input: [{ type: "function_call_output", call_id: item.call_id, output: "clear" }],
  max_output_tokens: 16,
});
console.log("responses, whole, streamed, with a call and its result:", responded.output_text, item.arguments, next.status);
