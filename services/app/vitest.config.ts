import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // A machine with other work can take half a minute to start one process.
    include: ["test/**/*.test.ts"],
    tags: [{ name: "slow", description: "left to npm run test:slow by npm test" }],
    testTimeout: 240_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 120_000 } },
  },
});
