"""Scripts with every trick that people use, for a comparison with what bash makes of them."""

from __future__ import annotations

#: Scripts that end in `swift sft`: name to text. Each command of each is compared, words and variables.
SCRIPTS: dict[str, str] = {
    "continued lines": r"""
#!/bin/bash
CUDA_VISIBLE_DEVICES=0,1 \
NPROC_PER_NODE=2 \
MAX_PIXELS=1003520 \
swift sft \
    --model Qwen/Qwen2.5-7B-Instruct \
    --dataset 'swift/self-cognition#1000' \
              'AI-ModelScope/alpaca-gpt4-data-zh#500' \
    --learning_rate 1e-4 \
    --torch_dtype bfloat16
""",
    "a comment within the chain": r"""
swift sft \
    --model a/b \
    --dataset d.jsonl \
    # --learning_rate 1e-5 \
    --lora_rank 8 \
    --num_train_epochs 1
""",
    "an empty line within the chain": r"""
swift sft --model a/b --dataset d.jsonl \

    --lora_rank 8
""",
    "a backslash that is missing": r"""
swift sft --model a/b \
    --dataset d.jsonl
    --lora_rank 8
""",
    "variables and exports": r"""
export MODEL=a/b
export CUDA_VISIBLE_DEVICES=2,3 NPROC_PER_NODE=2
OUTPUT=out
LR=2e-5; export LR
export OMP_NUM_THREADS
OMP_NUM_THREADS=4
swift sft --model $MODEL --output_dir "$OUTPUT/${MODEL}-x" --learning_rate ${LR} --dataset d.jsonl
""",
    "sums": r"""
nproc=4
steps=10
NPROC_PER_NODE=$nproc swift sft --model m --dataset d \
    --gradient_accumulation_steps $(expr 64 / $nproc / 2) \
    --save_steps $((steps * (nproc + 1) - 2**3 % 5)) \
    --eval_steps $(( nproc > 2 ? 0x10 : 7 )) \
    --warmup_steps `expr $steps \* 2` --logging_steps $(echo "10 / 3" | bc) --seed $[1+1]
""",
    "defaults": r"""
A=${A:-b}
: ${MODEL:=org/model}
LR=${LR-1e-5}
EMPTY=
swift sft --model $MODEL --dataset ${DATA:-x.jsonl} --learning_rate "$LR" --output_dir ${OUT:-out/$A} \
    --system "${SYSTEM:-You are a 'kind' assistant, \"really\".}" ${EMPTY:+--packing true} ${A:+--lora_rank 8} \
    ${NOT_SET:+--no true} --seed ${EMPTY:-7} --max_length ${EMPTY-9}4096
""",
    "arrays": r"""
ARGS=(
    --model org/model          # the base
    --dataset 'a b.jsonl' "c d.jsonl"
    # --learning_rate 1
    --learning_rate 1e-4       # tuned
)
ARGS+=(--system "You are
two lines." --lora_rank 8)
MORE=()
DATA=(x y "z w")
swift sft "${ARGS[@]}" "${MORE[@]}" --val_dataset "${DATA[@]:1}" --seed ${#DATA[@]} --output_dir "${DATA[0]}" \
    --target_modules ${DATA[*]}
""",
    "a string of arguments": r"""
COMMON="--model org/model --dataset d.jsonl"
EXTRA="--lora_rank 8   --lora_alpha 32"
swift sft $COMMON $EXTRA $UNSET_ARGS --system "$COMMON"
""",
    "environment before the command": r"""
A=1 B='two words' C="x y" swift sft --model m --dataset d
env D=4 nohup swift sft --model m --dataset d > log.txt 2>&1 &
wait
""",
    "quotes of all kinds": r"""
swift sft --model m --dataset d --system 'It'"'"'s "fine", $HOME `stays`' \
    --response_prefix '' --agent_template $'tab\there\nand \'quote\' \x41\u4e2d' --model_author "魔搭" 'ModelScope' \
    --model_kwargs '{"use_fast": false, "a": [1, 2]}' --columns "{\"q\": \"query\"}" --target_regex '^(model)\.(q|k)_proj$' \
    --loss_scale a\ b\"c --hub_strategy "back\slash \\ \$x \`y\`"
""",
    "values that YAML would change": r"""
swift sft --model 1e-4 --dataset 007 1_000 2024-01-01 --save_strategy no --eval_strategy yes --logging_dir on \
    --run_name null --seed 12:30:45 --system '~' --model_author ': x' '# y' '- z' '*a' '&b' '!c' '%d' '@e' '[f' '{g' '|' '>' '?' \
    --model_name True false NULL 0x1F 1.0 .5 5. +1 -1 -0.5 1e5 .inf .nan '' ' ' \
    --learning_rate 1.0e-5 --lora_dropout 0.050 --max_steps -1 --template "'single'" --bf16 True --fp16 FALSE
""",
    "what looks like an interpolation": r"""
swift sft --model m --dataset d --system '${not.a.key} and $(nothing) and \${x} and \\${y}' --model_author '${a}' '$b' '${c'
""",
    "arguments with an equals sign": r"""
swift sft --model=org/model --dataset=a.jsonl --learning-rate=1e-4 --system="a = b" --max-length 2048 --template=--odd
""",
    "switches without a value": r"""
swift sft --model m --packing --dataset d --gradient_checkpointing --streaming false --use_hf
""",
    "an argument twice": r"""
swift sft --model a --dataset d --lora_rank 8 --model b --dataset e f
""",
    "if and test": r"""
MODE=lora
GPUS=4
if [ "$MODE" = "lora" ]; then
    TUNER="--tuner_type lora --lora_rank 8"
elif [[ $MODE == full* ]]; then
    TUNER="--tuner_type full"
else
    echo "unknown mode" >&2
    exit 1
fi
[[ $GPUS -gt 2 && $MODE != full ]] && ZERO=zero3 || ZERO=zero2
if (( GPUS % 3 == 0 )); then STEPS=1; else STEPS=2; fi
test -z "$RESUME" || EXTRA="--resume_from_checkpoint $RESUME"
if [ -n "$NOT_THERE" ]; then EXTRA="--seed 1"; fi
if ! [ "$MODE" != lora -a 1 -eq 1 ]; then A=yes; fi
NPROC_PER_NODE=$GPUS swift sft --model m --dataset d $TUNER --deepspeed $ZERO --save_steps $STEPS $EXTRA --run_name "$A"
""",
    "a default by if": r"""
if [ -z "$MODEL" ]; then
  MODEL=org/model
fi
swift sft --model "$MODEL" --dataset d
""",
    "case": r"""
SIZE=7b-chat
case "$SIZE" in
  0.5b) BATCH=8 ;;
  7b*|8b) BATCH=2; DS=zero2 ;;
  *) BATCH=1 ;;
esac
swift sft --model m --dataset d --per_device_train_batch_size $BATCH --deepspeed $DS
""",
    "for loops": r"""
DATA=""
for name in a b "c d"; do
  DATA="$DATA data/$name.jsonl"
done
for i in {1..3}; do SEED=$((SEED + i)); done
for lr in 1e-4 1e-5; do
  for rank in 8 16; do
    swift sft --model m --dataset $DATA --learning_rate $lr --lora_rank $rank --output_dir out/${lr}_r$rank --seed $SEED
  done
done
""",
    "while and break": r"""
i=0
while [ $i -lt 3 ]; do
  i=$((i+1))
  LIST="$LIST$i"
  if [ $i -eq 2 ]; then break; fi
done
until (( i >= 5 )); do (( i++ )); done
swift sft --model m --dataset d --seed $i --run_name "$LIST"
""",
    "functions": r"""
train() {
    local lr=$1 name="$2"
    shift 2
    swift sft --model m --learning_rate "$lr" --run_name "$name" "$@"
}
function log { echo "[$(date)] $*"; }
log start
train 1e-4 "first run" --dataset a b
train 2e-4 second --dataset "c d"
""",
    "subshells and groups": r"""
LR=1
( LR=2; export ONLY=here; swift sft --model m --dataset d --learning_rate $LR )
{ LR=3; swift sft --model m --dataset d --learning_rate $LR; }
swift sft --model m --dataset d --learning_rate $LR
""",
    "in the background": r"""
A=1
A=2 &
{ B=3; swift sft --model m --dataset "d$B" --run_name "x$A"; } &
wait
swift sft --model m --dataset d --run_name "$A"
""",
    "pipes and redirections": r"""
mkdir -p logs && swift sft --model m --dataset d 2>&1 | tee logs/out.log
swift sft --model m --dataset e >> log 2>> err < /dev/null || echo failed
""",
    "here-documents": r"""
cat > ds.json <<EOF
{"swift sft": "--model not-this", "it's": "$HOME"}
EOF
cat <<'END' > /dev/null
swift sft --model "not this either
END
cat <<-TABS >/dev/null
	swift sft --model nor this
	TABS
swift sft --model m --dataset d --deepspeed ds.json
rm -f ds.json
""",
    "the ends of paths": r"""
MODEL=/models/org/Qwen-7B.bak/
NAME=$(basename $MODEL)
DIR=$(dirname "$MODEL")
F=data/train.v1.jsonl
swift sft --model $MODEL --run_name $NAME --output_dir $DIR/out --dataset ${F%.jsonl}.json ${F%%.*} ${F#*/} ${F##*.} \
    ${F/train/eval} ${F//a/A} ${F:5:5} ${F: -5} ${F^^} ${NAME,,} --seed ${#F}
""",
    "brace expansion": r"""
swift sft --model m --dataset data/{a,b,c}.jsonl x{1..3}y {p,q}{1,2} 'k{e,p}t' {single} {} --seed {01..03}
""",
    "the number of GPUs": r"""
export CUDA_VISIBLE_DEVICES=0,1,2,5
NPROC_PER_NODE=$(echo $CUDA_VISIBLE_DEVICES | tr ',' '\n' | wc -l) swift sft --model m --dataset d
N=$(echo "$CUDA_VISIBLE_DEVICES" | awk -F',' '{print NF}')
NPROC_PER_NODE=$N swift sft --model m --dataset d
IFS=',' read -ra LIST <<< "$CUDA_VISIBLE_DEVICES"
NPROC_PER_NODE=${#LIST[@]} swift sft --model m --dataset d --seed ${LIST[3]}
NPROC_PER_NODE=$(awk -F, '{print NF}' <<< $CUDA_VISIBLE_DEVICES) swift sft --model m --dataset d
""",
    "home": r"""
DATA=~/data
swift sft --model ~/models/qwen --dataset $DATA/a.jsonl "$HOME/b.jsonl" '~/c' "~/d" --output_dir $DATA
""",
    "export of everything": r"""
set -a
USE_HF=1
MODELSCOPE_CACHE=/cache
set +a
LOCAL=1
set -euo pipefail
swift sft --model m --dataset d
""",
    "unset, readonly, declare": r"""
readonly MODEL=m
declare -x TOKENIZERS_PARALLELISM=false
declare -i N=4
declare -a LIST=(a b)
export OLD=1
unset OLD
export -n TOKENIZERS_PARALLELISM
export KEPT="a b"
swift sft --model $MODEL --dataset "${LIST[@]}" --seed $N
""",
    "a path before PATH": r"""
export PATH=/opt/tools/bin:$PATH
export LD_LIBRARY_PATH=/opt/lib:/opt/lib64
swift sft --model m --dataset d
""",
    "bash -c": r"""
export NPROC_PER_NODE=2
LR=5
bash -c "swift sft --model m --dataset 'a b' --learning_rate $LR"
nohup sh -c 'swift sft --model m --dataset d --run_name "$LR-" ' &
wait
""",
    "eval and strings": r"""
CMD="swift sft --model m --dataset d"
CMD="$CMD --seed 3"
$CMD
eval $CMD --lora_rank 4
eval "$CMD --system 'two words'"
""",
    "the script's own folder": r"""
SCRIPT_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
HERE=$(dirname "$0")
swift sft --model m --dataset $SCRIPT_DIR/d.jsonl --output_dir $SCRIPT_DIR/../out --deepspeed "$(dirname $SCRIPT_DIR)/ds.json"
""",
    "several nodes": r"""
nnodes=2
nproc_per_node=8
NNODES=$nnodes NODE_RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=29501 NPROC_PER_NODE=$nproc_per_node \
CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 \
swift sft --model m --dataset d --gradient_accumulation_steps $(expr 32 / $nproc_per_node / $nnodes)
""",
    "GPUs that are no list": r"""
CUDA_VISIBLE_DEVICES=GPU-1234 swift sft --model m --dataset d
CUDA_VISIBLE_DEVICES= swift sft --model m --dataset d
CUDA_VISIBLE_DEVICES=-1 swift sft --model m --dataset d
CUDA_DEVICE_ORDER=FASTEST_FIRST CUDA_VISIBLE_DEVICES=1 swift sft --model m --dataset d
ASCEND_RT_VISIBLE_DEVICES=0,1 NPROC_PER_NODE=2 swift sft --model m --dataset d
""",
    "packing as the script has it": r"""
swift sft --model m --dataset d --packing true --attn_impl flash_attn
swift sft --model m --dataset d --packing false --attn_impl sdpa --padding_free true
swift sft --model m --dataset d --attn_impl flash_attention_3
""",
    "SwanLab": r"""
swift sft --model m --dataset d --report_to swanlab --swanlab_project 'my project' --swanlab_exp_name run-1 --swanlab_mode cloud
swift sft --model m --dataset d --report_to tensorboard swanlab --swanlab_mode local --swanlab_workspace team --swanlab_project p
swift sft --model m --dataset d --report_to wandb --swanlab_project unused
swift sft --model m --dataset d --report_to none
""",
    "no shebang, one line": "swift sft --model m --dataset d --lora_rank 8",
    "nothing behind": r"""swift sft \
  --model m \
  --dataset d \
""",
    "exit before the second": r"""
set -e
swift sft --model m --dataset d
exit 0
swift sft --model never --dataset d
""",
    "time, command, exec": r"""
time swift sft --model m --dataset d
command swift sft --model m --dataset e
exec swift sft --model m --dataset f
""",
    "positional parameters by set": r"""
set -- org/model 1e-4
swift sft --model $1 --learning_rate ${2} --dataset "$@" --seed $#
shift
swift sft --model $1 --dataset d
""",
    "conditions on words": r"""
A="x y"
B=
[ "$A" == "x y" ] && swift sft --model one --dataset d
[ -z "$B" ] && [ -n "$A" ] && swift sft --model two --dataset d
[[ -z $B || $A == z ]] && swift sft --model three --dataset d
[[ $A =~ ^x ]] && swift sft --model four --dataset d
[[ "$A" == "x*" ]] || swift sft --model five --dataset d
[ "$B" ] || swift sft --model six --dataset d
""",
}

#: Scripts that start ms-swift by another program: the text, and what `launch` must hold.
LAUNCHED: dict[str, tuple[str, dict[str, object]]] = {
    "torchrun": (r"""
CUDA_VISIBLE_DEVICES=0,1 torchrun --nproc_per_node 2 --nnodes=1 --node_rank 0 --master_addr 127.0.0.1 --master-port=29555 \
    /opt/ms-swift/swift/cli/sft.py --model m --dataset 'a b' c --learning_rate 1e-4
""", {"gpus": [0, 1], "nproc_per_node": 2, "nnodes": 1, "node_rank": 0, "master_addr": "127.0.0.1", "master_port": 29555}),
    "torchrun, standalone": (r"""
GPUS=4
torchrun --standalone --nproc-per-node=$GPUS swift/cli/sft.py --model m --dataset d
""", {"nproc_per_node": 4}),
    "torchrun with a rendezvous": (r"""
torchrun --nnodes 2 --nproc_per_node 8 --rdzv_id job --rdzv_backend c10d --rdzv_endpoint node0:29400 \
    swift/cli/sft.py --model m --dataset d
""", {"nnodes": 2, "nproc_per_node": 8, "master_addr": "node0", "master_port": 29400}),
    "torch.distributed.run": (r"""
NPROC=2
python -m torch.distributed.run --nproc_per_node $NPROC -m swift.cli.sft --model m --dataset d --seed 1
""", {"nproc_per_node": 2}),
    "accelerate": (r"""
accelerate launch --num_processes 8 --num_machines 2 --machine_rank 1 --main_process_ip 10.0.0.1 --main_process_port 29500 \
    --multi_gpu swift/cli/sft.py --model m --dataset d
""", {"nproc_per_node": 4, "nnodes": 2, "node_rank": 1, "master_addr": "10.0.0.1", "master_port": 29500}),
    "deepspeed": (r"""
deepspeed --num_gpus=4 --master_port 29501 swift/cli/sft.py --model m --dataset d --deepspeed zero2
""", {"nproc_per_node": 4, "master_port": 29501}),
    "deepspeed, chosen GPUs": (r"""
deepspeed --include localhost:2,3 swift/cli/sft.py --model m --dataset d
""", {"gpus": [2, 3], "nproc_per_node": 2}),
    "python -m swift.cli.main": (r"""
NPROC_PER_NODE=2 python -m swift.cli.main sft --model m --dataset d
""", {"nproc_per_node": 2}),
    "python and the script": (r"""
export CUDA_VISIBLE_DEVICES=0
python3 -u swift/cli/sft.py --model m --dataset d
""", {"gpus": [0]}),
}
