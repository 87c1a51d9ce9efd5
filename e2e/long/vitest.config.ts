import { defineConfig } from "vitest/config";
import { evidence, KeepEvidence } from "../evidence.ts";

const test = { testTimeout: 3_600_000, hookTimeout: 1_800_000, fileParallelism: false };
// What needs no platform runs on a machine without one.
const apart = "e2e/long/docker.test.ts";

export default defineConfig({
  test: {
    maxWorkers: 1,
    reporters: ["verbose", new KeepEvidence()],
    projects: [
      { test: { ...test, name: "machine", include: [apart] } },
      {
        test: {
          ...test,
          name: "platform",
          include: ["e2e/long/*.test.ts"],
          exclude: [apart],
          globalSetup: "e2e/platform.ts",
          setupFiles: "e2e/failing.ts",
          env: { E2E_EVIDENCE: evidence() },
        },
      },
    ],
  },
});
