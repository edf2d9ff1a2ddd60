#!/bin/sh
# Train on two "hosts" of this machine: two network namespaces joined by a virtual cable, which see each other through it
# alone. Needs root on Linux, with iproute2. Usage: sh examples/two_hosts.sh FOLDER [arguments of neurosim train]
set -eu
folder=$1
shift
a=neurosim-a-$$ b=neurosim-b-$$ end=v$$

clean() {
    ip netns del "$a" 2>/dev/null || true
    ip netns del "$b" 2>/dev/null || true
}
trap clean EXIT INT TERM

ip netns add "$a"
ip netns add "$b"
ip link add "${end}a" netns "$a" type veth peer name "${end}b" netns "$b"
ip -n "$a" addr add 10.99.0.1/24 dev "${end}a"
ip -n "$b" addr add 10.99.0.2/24 dev "${end}b"
for each in "$a ${end}a" "$b ${end}b"; do
    # shellcheck disable=SC2086
    set -- $each "$@"
    ip -n "$1" link set lo up
    ip -n "$1" link set "$2" up
    shift 2
done

# One torchrun on each host, as on a cluster.
host() {
    name=$1 number=$2 device=$3
    shift 3
    ip netns exec "$name" env GLOO_SOCKET_IFNAME="$device" python -m torch.distributed.run --nnodes 2 --node-rank "$number" \
        --nproc-per-node 1 --master-addr 10.99.0.1 --master-port 29500 --local-addr "10.99.0.$((number + 1))" \
        -m neurosim train "$folder" --shards 4 "$@"
}
host "$b" 1 "${end}b" "$@" &
host "$a" 0 "${end}a" "$@"
wait
