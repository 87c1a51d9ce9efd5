/** In each test file: notes a failure at once, as the reporter that saves the evidence hears of it later. */
import { mkdirSync } from "node:fs";
import { afterEach } from "vitest";
import { evidence } from "./evidence.ts";

afterEach(({ task }) => {
  if (task.result?.state === "fail") mkdirSync(evidence(), { recursive: true });
});
