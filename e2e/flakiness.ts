/** How often each test failed in several runs. */

/** What of vitest's JSON report is looked at. */
export interface Report {
  startTime: number;
  success: boolean;
  testResults: {
    name: string;
    status: string;
    message?: string;
    endTime: number;
    assertionResults: { fullName: string; status: string; duration?: number | null; tags?: string[] }[];
  }[];
}

/**
 * A line for each run, then one for each test that failed at least once, and each file that could not run.
 * A test that was left out in a run counts as one that did not pass there.
 * @param isWanted tells by a test's tags whether the runs were about it; the others are not counted
 */
export function summary(
  reports: Report[],
  isWanted: (tags: string[]) => boolean = () => true,
): { text: string; failed: boolean } {
  const lines: string[] = [];
  const wrong = new Map<string, number[]>();
  const note = (what: string, run: number): void => void wrong.set(what, [...(wrong.get(what) ?? []), run]);
  reports.forEach((report, index) => {
    const run = index + 1;
    const files = report.testResults.map(({ assertionResults, ...file }) => ({
      ...file,
      tests: assertionResults.filter(({ tags = [] }) => isWanted(tags)),
    }));
    const tests = files.flatMap((file) => file.tests);
    const end = Math.max(report.startTime, ...report.testResults.map(({ endTime }) => endTime));
    const count = (status: string): number => tests.filter((test) => test.status === status).length;
    const seconds = Math.round((end - report.startTime) / 1000);
    const others = tests.length - count("passed") - count("failed");
    lines.push(
      `run ${run}: ${count("passed")} passed, ${count("failed")} failed, ${others} left out, ${seconds} s`,
    );
    for (const { name, status, tests } of files) {
      for (const test of tests) if (test.status !== "passed") note(test.fullName, run);
      if (status === "failed" && tests.every((test) => test.status === "passed")) note(name, run);
    }
    if (tests.length === 0 || (!report.success && ![...wrong.values()].some((runs) => runs.includes(run))))
      note("the run as a whole", run);
  });
  for (const [what, runs] of wrong)
    lines.push(`did not pass in ${runs.join(", ")} of ${reports.length}: ${what}`);
  if (wrong.size === 0) lines.push(`0 failures in ${reports.length} runs`);
  return { text: lines.map((line) => `${line}\n`).join(""), failed: wrong.size > 0 };
}
