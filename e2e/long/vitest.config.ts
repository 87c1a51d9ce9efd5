import { defineConfig } from "vitest/config";
import { evidence, KeepEvidence } from "../evidence.ts";

export default defineConfig({
  test: {
    include: ["e2e/long/*.test.ts"],
    globalSetup: "e2e/platform.ts",
    setupFiles: "e2e/failing.ts",
    fileParallelism: false,
    maxWorkers: 1,
    testTimeout: 3_600_000,
    hookTimeout: 1_800_000,
    reporters: ["verbose", new KeepEvidence()],
    env: { E2E_EVIDENCE: evidence() },
  },
});
