import { availableParallelism } from "node:os";
import { defaultExclude, defineConfig } from "vitest/config";
import { LongestFirst } from "./tools/checks/sequencer.ts";

// What goes on for minutes or installs hundreds of packages runs in `npm run test:long`.
const long = Boolean(process.env.LONG);

export default defineConfig({
  test: {
    include: ["bootstrap/**/*.test.ts", "lib/**/*.test.ts", "tools/**/*.test.ts"],
    exclude: [...defaultExclude, "tools/templates/**", ...(long ? [] : ["**/*.long.test.ts"])],
    // vitest leaves one core to itself. Tests wait for programs half of their time: that core has room for them.
    tags: [{ name: "slow", description: "left to npm run test:slow by npm test" }],
    sequence: { sequencer: LongestFirst },
    maxWorkers: Math.max(2, availableParallelism()),
    // Commands that a test runs are not logged as those of this machine's platform.
    env: { DEPLOY_LOG: "/dev/null" },
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
