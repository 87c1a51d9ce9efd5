/** How fast the agent reads beside other collectors, on the machine that the platform runs on. */
import { execa } from "execa";
import { expect, test } from "vitest";
import { repository } from "../platform.ts";

test("the agent, tail and another collector each print every line of the same files", async ({
  annotate,
}) => {
  // Ends well only where each printed as many lines as there are.
  const { stdout } = await execa("npm", ["run", "bench", "--prefix", "services/log-agent"], {
    cwd: repository,
    env: { LINES: "60000" },
    timeout: 600_000,
  });
  const rows = stdout.split("\n").filter((line) => /^\| .*\d/.test(line));
  await annotate(rows.join("\n"));
  const collectors = rows.map((row) => row.slice(2, row.indexOf(" | ")));
  expect(collectors, "rsyslog comes from Debian").toEqual([
    "agent",
    "agent without log_line_encoding",
    String.raw`tail -F \| cat`,
    "rsyslog imfile",
  ]);
});
