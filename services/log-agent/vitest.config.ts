import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Tests wait for the collector most of their time.
    maxWorkers: 2,
    include: ["test/**/*.test.ts"],
    tags: [{ name: "slow", description: "left to npm run test:slow by npm test" }],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
