/* Prompts to begin with. Each is for an expert and is offered only where an expert of that name is there; the general
   ones fit every composition. Those for the demo's experts are in the form that these were trained on. */

const EXAMPLES = [
  {expert: "code", title: "Write code", prompt: "Write a Python function that reverses a string."},
  {expert: "sql", title: "Query a database", prompt: "Write a SQL query that counts the customers of each city."},
  {expert: "math", title: "Solve a sum", prompt: "Natalia sold 48 clips in April and half as many in May. How many altogether?"},
  {expert: "intent", title: "Name an intent", prompt: "Intent of this request: please move 100 dollars from my savings to my checking account"},
  {expert: "reasoning", title: "Judge a statement", prompt: "Is the following sentence plausible? \"LeBron James took a corner kick.\""},
  {expert: "tools", title: "Call a tool", prompt: "toolformer: enabled\ntoolformer access: wolfram\nA wolfram alpha search engine. Input should be a search query.\nwolfram(query)\nWhat's the boiling point of silver?"},
  {expert: null, title: "Get advice", prompt: "Give me three tips for a good night's sleep."},
  {expert: null, title: "Ask a question", prompt: "What is photosynthesis?"},
];
const OFFERED = 4;

/** Return the examples that fit these experts, those of specialists first. */
export function examplesFor(names) {
  const special = EXAMPLES.filter(example => names.includes(example.expert)).slice(0, OFFERED - 1);
  return [...special, ...EXAMPLES.filter(example => example.expert === null)].slice(0, OFFERED);
}
