import { basename } from "node:path";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { evidence, KeepEvidence } from "./evidence.ts";

// From reading to writing to taking apart: each file leaves the platform as the next one needs it.
const order = [
  "api",
  "workloads",
  "example",
  "cluster",
  "mesh",
  "logs",
  "archive",
  "search",
  "doors",
  "screens",
  "delivery",
  "release",
  "own-service",
  // Last of those that leave the platform: its alerts have had the time of all others to fire.
  "monitoring",
  "lifecycle",
].map((name) => `${name}.test.ts`);

class GivenOrder extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => order.indexOf(basename(moduleId));
    return files.toSorted((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  test: {
    include: order.map((name) => `e2e/${name}`),
    globalSetup: ["e2e/platform.ts", "e2e/early.ts"],
    setupFiles: "e2e/failing.ts",
    sequence: { sequencer: GivenOrder },
    tags: [{ name: "slow", description: "left to npm run e2e:slow by npm run e2e" }],
    fileParallelism: false,
    maxWorkers: 1,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    reporters: [
      "verbose",
      new KeepEvidence(),
      // `npm run e2e:repeat` reads what became of each test.
      ...(process.env.E2E_REPORT
        ? [["json", { outputFile: process.env.E2E_REPORT }] as [string, Record<string, unknown>]]
        : []),
    ],
    env: { E2E_EVIDENCE: evidence() },
  },
});
