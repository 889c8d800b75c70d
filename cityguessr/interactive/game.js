// The score of a game: the same table as rules.score. `chosen` has the number of the option of each round, or null.
function score(rounds, chosen, levels, cities) {
  var played = rounds.slice(0, chosen.length), of = " of " + played.length;
  var rows = levels.map(function (level, n) {
    function right(path, one) { return path !== null && path[n] === one.options[one.truth].path[n] ? 1 : 0; }
    function counted(path) { return sum(played.map(function (one, i) { return right(path(one, i), one); })); }
    var yours = counted(function (one, i) { return chosen[i] === null ? null : one.options[chosen[i]].path; });
    var model = counted(function (one) { return one.options[one.model].path; });
    var free = counted(function (one) { return one.free; });
    var blind = sum(played.map(function (one) {
      return sum(one.options.map(function (option) { return right(option.path, one); })) / one.options.length;
    }));
    return { cells: [level, yours + of, model + of, free + of, fixed(blind, 1)], marks: fill(5, ""), strong: level === "city" };
  });
  var head = ["right", "you", "the model, same options", "the model, all " + cities + " cities", "blind guessing"];
  return { kind: "table", title: "The score", head: head, rows: rows };
}
