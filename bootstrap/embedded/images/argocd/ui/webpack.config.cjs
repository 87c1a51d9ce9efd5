// The module's own configuration, without what reports to a service or is for development, and quicker: five times less work.
const Module = require("node:module");
const { EsbuildPlugin } = require("esbuild-loader");

const leftOut = {
  "@codecov/webpack-plugin": { codecovWebpackPlugin: () => undefined },
  "@pmmmwh/react-refresh-webpack-plugin": class {},
};
const load = Module._load;
Module._load = (name, ...rest) => leftOut[name] ?? load(name, ...rest);
process.env.REACT_COMPILER = "0";
process.env.NODE_ENV = "production";
const config = require("./src/app/webpack.config.js");

module.exports = {
  ...config,
  cache: false,
  // The maps of style sheets would be in the pages: three times their size.
  devtool: false,
  plugins: config.plugins.filter(Boolean),
  optimization: { ...config.optimization, minimizer: [new EsbuildPlugin({ target: "es2015", css: true })] },
};
