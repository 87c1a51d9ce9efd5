import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    maxWorkers: 2,
    include: ["test/**/*.test.ts"],
    tags: [{ name: "slow", description: "left to npm run test:slow by npm test" }],
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
